"""The shell around the decision: the only caller of `decide`, the only one that changes the tables.

It answers Needs, applies Events in the callback that decided, tells telemetry, and turns every exception into a denial.
It knows no socket: the decision lane and the aiohttp door both call `answer`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from forwardauth.config.snapshot import Snapshot
from forwardauth.core.credentials import COOKIE, basic_user, without_cookies
from forwardauth.core.decide import SETTLED, Decision, decide
from forwardauth.core.lockout import Known, Lockout
from forwardauth.core.memo import Memo
from forwardauth.core.model import (
    Charged,
    Event,
    Facts,
    Failed,
    Identity,
    Need,
    Now,
    RequestView,
    Reserved,
    Subrequest,
    Succeeded,
    Tables,
)
from forwardauth.core.rate import RateTable
from forwardauth.core.reasons import BUSY, DENIALS, FAULT, UNAVAILABLE, Denial, Reason
from forwardauth.core.reply import Reply, identity_headers
from forwardauth.core.routes import Place, Route
from forwardauth.gateways.dialect import Dialect
from forwardauth.replies import deny
from forwardauth.stores.facts import FactCache, WithFresh
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from forwardauth.telemetry.redact import shown
from forwardauth.waiting import LineFullError, WaitingLine

log = logging.getLogger("forwardauth")

Fetcher = Callable[[Need], Awaitable[bool]]

NEEDS_PER_DECISION = 4
_LONGEST_USER = 256
_SLOWEST_ANSWER = 20.0
HEALTHY = Reply(200, (("Cache-Control", "no-store"),), b'{"status": "ok"}', "application/json")
NOT_FOUND = Reply(404, (("Cache-Control", "no-store"),), b'{"error": "not found"}', "application/json")
_ALLOW_HEADERS = (("Cache-Control", "no-store"),)


class Service:
    """Decides for gateways. `swap` puts another configuration in its place; tables outlive it."""

    def __init__(self, snapshot: Snapshot, fetchers: dict[str, Fetcher], audit: AuditLog, metrics: Metrics) -> None:
        self.snapshot = snapshot
        self.lockout = Lockout(snapshot.settings.lockout)
        self.known = Known()
        self.rates = RateTable()
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
        self._endpoints = {
            dialect.path.encode(): dialect for dialect in snapshot.dialects.values() if not dialect.below
        }
        self._trees = [
            (dialect.path.encode() + b"/", dialect) for dialect in snapshot.dialects.values() if dialect.below
        ]
        self._allowed: Memo[tuple[Identity, str], Reply] = Memo(16_384)
        self._denied: dict[tuple[Denial, str, str], Reply] = {}

    def answer(self, path: bytes, subrequest: Subrequest) -> Reply | Awaitable[Reply]:
        """The reply to whatever was asked on the decision listener; `path` is the target without its query.

        At once where memory answers, an awaitable where the world must be asked. Raises nothing.
        """
        dialect = self._endpoints.get(path)
        if dialect is not None:
            return self.verdict(dialect, subrequest)
        for tree, dialect in self._trees:
            if path.startswith(tree):
                return self.verdict(dialect, subrequest)
        return HEALTHY if path == b"/health" else NOT_FOUND

    def verdict(self, dialect: Dialect, subrequest: Subrequest) -> Reply | Awaitable[Reply]:
        """The reply to a gateway's question."""
        now = _now()
        snapshot = self.snapshot
        view = RequestView()
        try:
            # A view depends on nothing but the configuration, the peer and the message, and holds no verdict, so a
            # message that comes again byte by byte is read once.
            if subrequest.read is not None and subrequest.read[0] is snapshot:
                view = subrequest.read[1]
            else:
                self.read(view, dialect, subrequest, snapshot)
                subrequest.read = (snapshot, view)
            outcome = decide(view, snapshot, self.tables, self.facts, now)
            if isinstance(outcome, Need):
                return self._answer_later(view, dialect, snapshot, outcome, now.monotonic)
            return self._finish(view, dialect, snapshot, outcome, now.monotonic)
        except Exception:
            return self._fault(view, dialect, snapshot, now.monotonic)

    def read(self, view: RequestView, dialect: Dialect, subrequest: Subrequest, snapshot: Snapshot) -> None:
        """Fill a view; of an untrusted peer nothing is read."""
        if not snapshot.trusts(subrequest.peer):
            return
        view.peer_trusted = True
        snapshot.header_names[dialect.name].read(subrequest.headers, view)
        dialect.read(subrequest, view)

    def apply(self, events: tuple[Event, ...], now: float) -> None:
        """Do to the tables what a decision says; in the same callback as the decision."""
        for event in events:
            if isinstance(event, Charged):
                self.rates.charge(event.charges, now)
            elif isinstance(event, Succeeded):
                self.known.note(event.client, event.fingerprint, now)
                if self.snapshot.settings.lockout.reset_on_success:
                    self.lockout.forget(event.keys)
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

    async def _answer_later(
        self, view: RequestView, dialect: Dialect, snapshot: Snapshot, need: Need, began: float
    ) -> Reply:
        """Decide once the slow checks before this one, of the same client, are settled."""
        try:
            async with asyncio.timeout(_SLOWEST_ANSWER), self._line.turn(need.turn, need.key):
                decision = await self._decide_asking(view, snapshot)
                return self._finish(view, dialect, snapshot, decision, began)
        except LineFullError:
            return self._finish(view, dialect, snapshot, _undecided(view, snapshot, BUSY), began)
        except TimeoutError:
            return self._finish(view, dialect, snapshot, _undecided(view, snapshot, UNAVAILABLE), began)
        except Exception:
            return self._fault(view, dialect, snapshot, began)

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

    def _finish(
        self, view: RequestView, dialect: Dialect, snapshot: Snapshot, decision: Decision, began: float
    ) -> Reply:
        """Apply the events, tell telemetry, and render: all in the callback that decided."""
        if decision.events:
            self.apply(decision.events, time.monotonic())
        reply = self._reply(view, dialect, snapshot, decision)
        seconds = time.monotonic() - began
        self._metrics.count(decision, seconds)
        gateway_user = _gateway_user(view, snapshot.gateway_user) if snapshot.gateway_user is not None else None
        self._audit.add((time.time(), seconds, view, decision, gateway_user))
        return reply

    def _fault(self, view: RequestView, dialect: Dialect, snapshot: Snapshot, began: float) -> Reply:
        """An exception of ours: 503, and nobody's failure."""
        log.exception("a decision failed; the request is denied")
        decision = Decision("authenticators", DENIALS[FAULT])
        try:
            return self._finish(view, dialect, snapshot, decision, began)
        except Exception:
            log.exception("a fault could not be recorded")
            return dialect.write(deny(DENIALS[FAULT], "openai"))

    def _reply(self, view: RequestView, dialect: Dialect, snapshot: Snapshot, decision: Decision) -> Reply:
        denial = decision.denial
        if denial is None:
            return self._allow(view, dialect, snapshot, decision)
        format_name = snapshot.errors if decision.place is None else decision.place.route.errors
        if format_name == "browser" and not (dialect.carries_html and b"text/html" in view.fields.get(b"accept", b"")):
            format_name = "plain"
        if decision.retry_after:
            limited = deny(denial, format_name, decision.retry_after, decision.limit, decision.limit_scope)
            return dialect.write(limited)
        key = (denial, format_name, dialect.name)
        reply = self._denied.get(key)
        if reply is None:
            reply = self._denied[key] = dialect.write(deny(denial, format_name))
        return reply

    def _allow(self, view: RequestView, dialect: Dialect, snapshot: Snapshot, decision: Decision) -> Reply:
        key = (decision.identity, dialect.name)
        reply = self._allowed.get(key)
        if reply is None:
            headers = _ALLOW_HEADERS + identity_headers(decision.identity, snapshot.further_names)
            reply = dialect.write(Reply(200, headers))
            self._allowed.put(key, reply)
        if decision.place is None or (
            decision.place.route.pass_credentials == "false" and not snapshot.credential_cookies
        ):
            return reply
        passed = _passed_credentials(view, snapshot, decision.place.route)
        return Reply(200, reply.headers + passed) if passed else reply


def _now() -> Now:
    return Now(time.time(), time.monotonic())


def _undecided(view: RequestView, snapshot: Snapshot, reason: Reason) -> Decision:
    """A denial because the world did not answer in time: nobody's failure."""
    place = snapshot.routes.locate(view, view.method)
    client = snapshot.clients.read(view.forwarded_for)
    return Decision("authenticators", DENIALS[reason], place if isinstance(place, Place) else None, client)


def _passed_credentials(view: RequestView, snapshot: Snapshot, route: Route) -> tuple[tuple[str, str], ...]:
    """The client's credential headers that the backend is to get, under their own names; gateways delete the rest.

    A Cookie header that holds one of our cookies among others travels without it, unless the route passes them all.
    """
    mode = route.pass_credentials
    passed: list[tuple[str, str]] = []
    if mode != "false":
        for lower, name in snapshot.credential_headers.items():
            value = view.fields.get(lower)
            if value and lower != COOKIE and (mode == "true" or _foreign(lower, value, snapshot)):
                passed.append((name, value.decode("latin-1")))
    if snapshot.credential_cookies and (line := view.fields.get(COOKIE)):
        kept = line if mode == "true" else without_cookies(line, snapshot.credential_cookies)
        if kept:
            passed.append(("Cookie", kept.decode("latin-1")))
    return tuple(passed)


def _foreign(header: bytes, value: bytes, snapshot: Snapshot) -> bool:
    """Whether no authenticator of the configuration takes a value for its own."""
    return all(authenticator.foreign(header, value) is not False for authenticator in snapshot.authenticators.values())


def _gateway_user(view: RequestView, header: bytes) -> str | None:
    """The user that the gateway says it checked: a header's value, or the user name of `Authorization: Basic`."""
    if header == b"authorization":
        user = basic_user(view)
        return None if user is None else shown(user.encode(), _LONGEST_USER)
    value = view.fields.get(header)
    return shown(value, _LONGEST_USER) if value else None
