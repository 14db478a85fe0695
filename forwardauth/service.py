"""The shell around the decision: the only caller of `decide`; what a decision does to the tables, it does.

It answers Needs, applies Events in the callback that decided, tells telemetry, and turns every exception into a denial.
It knows no socket: the decision lane and the aiohttp door both call `answer`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from forwardauth.config.snapshot import Snapshot
from forwardauth.core.decide import SETTLED, Decision, decide
from forwardauth.core.key_index import Uses
from forwardauth.core.lockout import Known, Lockout
from forwardauth.core.model import (
    Event,
    Facts,
    Failed,
    KeyUsed,
    Need,
    Now,
    RequestView,
    Reserved,
    Subrequest,
    Succeeded,
    Tables,
)
from forwardauth.core.rate import RateTable
from forwardauth.core.reasons import BUSY, DENIALS, FAULT, UNAVAILABLE, Reason
from forwardauth.core.reply import Reply
from forwardauth.core.routes import Place
from forwardauth.endpoint import Endpoint
from forwardauth.replies import deny
from forwardauth.stores.facts import FactCache, WithFresh
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from forwardauth.waiting import LineFullError, WaitingLine

log = logging.getLogger("forwardauth")

Fetcher = Callable[[Need], Awaitable[bool]]

NEEDS_PER_DECISION = 4
_SLOWEST_ANSWER = 20.0
HEALTHY = Reply(200, (("Cache-Control", "no-store"),), b'{"status": "ok"}', "application/json")
NOT_FOUND = Reply(404, (("Cache-Control", "no-store"),), b'{"error": "not found"}', "application/json")
UNREAD = RequestView()
"""What stands for a request that could not be read."""


class Service:
    """Decides for gateways. `swap` puts another configuration in its place; tables outlive it."""

    def __init__(self, snapshot: Snapshot, fetchers: dict[str, Fetcher], audit: AuditLog, metrics: Metrics) -> None:
        self.snapshot = snapshot
        self.lockout = Lockout(snapshot.settings.lockout)
        self.known = Known()
        self.rates = RateTable()
        self.uses = Uses()
        self.tables = Tables(self.lockout, self.known, self.rates)
        self.facts = FactCache(time.monotonic)
        self._fetchers = fetchers
        self._audit = audit
        self._metrics = metrics
        self._line = WaitingLine()
        self._settlement: asyncio.Future[None] | None = None
        self.swap(snapshot)

    def swap(self, snapshot: Snapshot) -> None:
        """Decide by another configuration from the next request on; counters and blocks stay."""
        self.snapshot = snapshot
        self.lockout.settings = snapshot.settings.lockout
        # Only the dialects of the configuration exist: an endpoint that nobody uses is one more way to ask.
        endpoints = [Endpoint(dialect, snapshot, self._metrics) for dialect in snapshot.dialects.values()]
        self._endpoints = {endpoint.path: endpoint for endpoint in endpoints if not endpoint.dialect.below}
        self._trees = [endpoint for endpoint in endpoints if endpoint.dialect.below]

    def answer(self, subrequest: Subrequest) -> Reply | Awaitable[Reply]:
        """The reply to whatever was asked on the decision listener.

        At once where memory answers, an awaitable where the world must be asked. Raises nothing.
        """
        endpoint = self._endpoints.get(subrequest.target) or self._endpoint(subrequest.target)
        if endpoint is None:
            return HEALTHY if subrequest.target.partition(b"?")[0] == b"/health" else NOT_FOUND
        now = _now()
        view = UNREAD
        try:
            view = endpoint.read(subrequest)
            outcome = decide(view, endpoint.snapshot, self.tables, self.facts, now)
            if isinstance(outcome, Decision):
                return self._finish(endpoint, view, outcome, now)
            return self._answer_later(endpoint, view, outcome, now)
        except Exception:
            return self._fault(endpoint, view, now)

    def _endpoint(self, target: bytes) -> Endpoint | None:
        """Whose target this is: a query is nobody's business, and one gateway asks below its path."""
        path = target.partition(b"?")[0]
        return self._endpoints.get(path) or next((tree for tree in self._trees if path.startswith(tree.path)), None)

    def apply(self, events: tuple[Event, ...], now: float) -> None:
        """Do to the tables what a decision says; in the same callback as the decision."""
        for event in events:
            if isinstance(event, Succeeded):
                self.known.note(event.client.key, event.fingerprint, now)
                event.client.known, event.client.known_at = event.fingerprint, now
                if self.snapshot.settings.lockout.reset_on_success:
                    self.lockout.forget(event.keys)
            elif isinstance(event, KeyUsed):
                event.identity.noted = event.wall
                self.uses.note(event.identity.record, event.wall)
            elif isinstance(event, Failed):
                self.lockout.fail(event.keys, now)
            else:
                self.lockout.reserve(event.keys)

    async def explain(self, view: RequestView, snapshot: Snapshot) -> Decision:
        """The decision that this view would get, with nothing changed. Raises what the decision raises."""
        fresh: dict[bytes, bool] = {}
        for _ in range(NEEDS_PER_DECISION + 1):
            outcome = decide(view, snapshot, self.tables, WithFresh(fresh, self.facts), _now())
            if isinstance(outcome, Decision):
                return outcome
            if outcome.fetcher == SETTLED:
                await self._next_settlement()
            else:
                fresh[outcome.key] = await self._fetchers[outcome.fetcher](outcome)
        return _undecided(view, snapshot, UNAVAILABLE)

    async def _answer_later(self, endpoint: Endpoint, view: RequestView, need: Need, began: Now) -> Reply:
        """Decide once the slow checks before this one, of the same client, are settled."""
        snapshot = endpoint.snapshot
        try:
            async with asyncio.timeout(_SLOWEST_ANSWER), self._line.turn(need.turn, need.key):
                return self._finish(endpoint, view, await self._decide_asking(view, snapshot), began)
        except LineFullError:
            return self._finish(endpoint, view, _undecided(view, snapshot, BUSY), began)
        except TimeoutError:
            return self._finish(endpoint, view, _undecided(view, snapshot, UNAVAILABLE), began)
        except Exception:
            return self._fault(endpoint, view, began)

    async def _decide_asking(self, view: RequestView, snapshot: Snapshot) -> Decision:
        """Ask the world for what the decision needs, at most four times."""
        fresh: dict[bytes, bool] = {}
        asked = 0
        while True:
            facts: Facts = WithFresh(fresh, self.facts)
            outcome = decide(view, snapshot, self.tables, facts, _now())
            if isinstance(outcome, Decision):
                return outcome
            if outcome.fetcher == SETTLED:
                await self._next_settlement()
                continue
            asked += 1
            if asked > NEEDS_PER_DECISION:
                raise RuntimeError("a decision needs more than four facts")
            fresh[outcome.key] = await self._fetch(outcome)

    async def _fetch(self, need: Need) -> bool:
        """One fact; the attempt stands reserved meanwhile, so that parallel guesses do not slip through."""
        self.apply(need.events, time.monotonic())
        try:
            found = await self._fetchers[need.fetcher](need)
        finally:
            for event in need.events:
                if isinstance(event, Reserved):
                    self.lockout.settle(event.keys)
            if self._settlement is not None:
                self._settlement.set_result(None)
                self._settlement = None
        if found:
            self.facts.put(need.key)
        return found

    async def _next_settlement(self) -> None:
        if self._settlement is None:
            self._settlement = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._settlement)

    def _finish(self, endpoint: Endpoint, view: RequestView, decision: Decision, began: Now) -> Reply:
        """Apply the events, tell telemetry, and answer: all in the callback that decided."""
        ended = time.monotonic()
        if decision.charges:
            self.rates.charge(decision.charges, ended)
        if decision.events:
            self.apply(decision.events, ended)
        outcome = endpoint.outcome(view, decision)
        reply = outcome.reply
        if outcome.passes and decision.place is not None:
            reply = endpoint.with_credentials(reply, view, decision.place.route)
        seconds = ended - began.monotonic
        self._metrics.count(outcome.counter, seconds)
        # A template tells that there is no such user: each one is a line of its own.
        user = None if outcome.template is not None else endpoint.gateway_user(view)
        self._audit.add((began.wall + seconds, seconds, view, decision, user, outcome.template))
        return reply

    def _fault(self, endpoint: Endpoint, view: RequestView, began: Now) -> Reply:
        """An exception of ours: 503, and nobody's failure."""
        log.exception("a decision failed; the request is denied")
        try:
            return self._finish(endpoint, view, Decision("authenticators", DENIALS[FAULT]), began)
        except Exception:
            log.exception("a fault could not be recorded")
            return endpoint.dialect.write(deny(DENIALS[FAULT], "openai"))


def _now() -> Now:
    return Now(time.time(), time.monotonic())


def _undecided(view: RequestView, snapshot: Snapshot, reason: Reason) -> Decision:
    """A denial because the world did not answer in time: nobody's failure."""
    place = snapshot.routes.locate(view, view.method)
    client = snapshot.clients.read(view.forwarded_for)
    return Decision("authenticators", DENIALS[reason], place if isinstance(place, Place) else None, client)
