"""THE PAGE TO READ FIRST: the steps of a decision, top to bottom, in the only order there is.

`decide` changes nothing but what a view keeps of itself: what a decision does to the tables travels in its events and
charges. It answers a Decision, or a Need for a fact that it must have first. An exception in here is a fault, and a
fault denies.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Protocol

from forwardauth.core.client_ip import ClientReader, lockout_keys
from forwardauth.core.credentials import basic_user
from forwardauth.core.guard import METHOD_OVERRIDE
from forwardauth.core.lockout import FRESH_SECONDS, KNOWN_SECONDS
from forwardauth.core.model import (
    ANONYMOUS,
    Client,
    Event,
    Facts,
    Failed,
    Identity,
    KeyUsed,
    Need,
    Now,
    Record,
    Rejected,
    RequestView,
    Reserved,
    Succeeded,
    Tables,
)
from forwardauth.core.rate import Charge, Limit, Limits
from forwardauth.core.reasons import (
    AMBIGUOUS_CREDENTIALS,
    CROSS_SITE,
    DENIALS,
    LOCKED_OUT,
    LOOKALIKE_HEADER,
    MALFORMED_SUBREQUEST,
    RATE_LIMITED,
    UNTRUSTED_PEER,
    Denial,
)
from forwardauth.core.requirement import Judged
from forwardauth.core.routes import Place, Route, RouteTable
from forwardauth.core.scopes import refusal

STATIONS: tuple[str, ...] = (
    "trusted peer",
    "gateway headers",
    "header guard",
    "route",
    "preflight",
    "client address",
    "public",
    "lockout",
    "credentials",
    "authenticators",
    "cross-site",
    "scope",
    "rates",
)
"""The order of checks, as `explain` prints it."""

USE_SECONDS = 60.0
"""How exactly the last use of a key is known: a second use within it is not noted."""

SETTLED = "settled"
"""The need to wait until attempts of this client that are being checked are settled."""


class Rules(Protocol):
    """The part of a configuration snapshot that a decision reads."""

    routes: RouteTable
    clients: ClientReader
    require_auth: bool
    credential_headers: dict[bytes, str]


class Decision(Record):
    """The answer, and what it was about. `denial` is None on allow.

    `station` is the check that answered. `events` happen to the tables, and `charges` to the rates: apart from them,
    because nearly every request has some. `retry_after` is in seconds; `limit` the tightest rate limit with its `scope`
    (`credential`, `route` or `client`).
    """

    station: str
    denial: Denial | None = None
    place: Place | None = None
    client: Client | None = None
    identity: Identity = ANONYMOUS
    events: tuple[Event, ...] = ()
    charges: Sequence[Charge] = ()
    retry_after: float = 0.0
    limit: Limit | None = None
    limit_scope: str = ""


Arrival = tuple[Rules, Place, Client]
"""By which rules a request was looked at, where it goes, and whose it is."""


def _arrive(view: RequestView, rules: Rules) -> Arrival | Decision:
    """The stations that message and configuration alone decide. The view keeps it: a message may come again."""
    if not view.peer_trusted:
        return Decision("trusted peer", DENIALS[UNTRUSTED_PEER])
    if view.unreadable is not None:
        return Decision("gateway headers", DENIALS[MALFORMED_SUBREQUEST])
    if view.lookalike is not None:
        return Decision("header guard", DENIALS[LOOKALIKE_HEADER])

    if view.method == b"OPTIONS" and is_preflight(view):
        asked = rules.routes.locate(view, view.fields[b"access-control-request-method"])
        if isinstance(asked, Place) and asked.route.preflight and not _overrides_method(view, asked.route):
            return Decision("preflight", place=asked)
    place = rules.routes.locate(view, view.method)
    if not isinstance(place, Place):
        return Decision("route", place)
    if _overrides_method(view, place.route):
        return Decision("route", DENIALS[MALFORMED_SUBREQUEST], place)

    client = rules.clients.read(view.forwarded_for)
    if client is None:
        return Decision("client address", DENIALS[MALFORMED_SUBREQUEST], place)
    arrival = view.arrival = (rules, place, client)
    return arrival


def decide(view: RequestView, rules: Rules, tables: Tables, facts: Facts, now: Now) -> Decision | Need:
    """Whether the request may pass, and as whom. Whoever calls it denies on any exception."""
    kept: Arrival | None = view.arrival
    arrival = kept if kept is not None and kept[0] is rules else _arrive(view, rules)
    if not isinstance(arrival, tuple):
        return arrival
    _, place, client = arrival
    route = place.route

    if not rules.require_auth:
        return Decision("public", place=place, client=client)
    if route.requirement is None:
        return _within_rates("public", place, client, ANONYMOUS, (), tables, now)

    keys = client.keys if not client.exempt else lockout_keys(client, _user_digest(view))
    blocked_for = tables.lockout.blocked_for(keys, now.monotonic)
    if not blocked_for and tables.lockout.must_wait(keys, now.monotonic):
        return Need(SETTLED, keys[0][0], turn=keys[0][0])

    if view.repeated is not None:
        if blocked_for:
            return _locked_out(place, client, blocked_for)
        return Decision("credentials", DENIALS[AMBIGUOUS_CREDENTIALS], place, client)

    wrong: list[Denial] = []
    verdict = route.requirement.judge(view, client, facts, now, wrong)
    if blocked_for:
        wrong = []
        if not _is_known(verdict, client, tables, now):
            # As if nothing was presented: if a wrong key led to a neighbour's answer and a right one to 429, a guesser
            # knew.
            verdict = route.requirement.judge(_without_credentials(view, rules), client, facts, now, wrong)
            if not _is_known(verdict, client, tables, now):
                return _locked_out(place, client, blocked_for)
    if isinstance(verdict, Need):
        verdict.events = (Reserved(keys),)
        # Whoever is counted alone waits alone: at an exempt address that is each user name.
        verdict.turn = keys[0][0] if keys else verdict.key
        return verdict
    if isinstance(verdict, Rejected):
        denial = verdict.denial
        events: tuple[Event, ...] = (Failed(keys),) if wrong or denial.reason.counts else ()
        return Decision("authenticators", denial, place, client, events=events)
    events = (Failed(keys),) if wrong else ()

    if verdict.ambient and _crosses_site(view, place):
        return Decision("cross-site", DENIALS[CROSS_SITE], place, client, verdict, events)
    if verdict.scoped:
        refused = _out_of_scope(verdict, view, place, client)
        if refused is not None:
            return Decision("scope", refused, place, client, verdict, events)

    for part in verdict.merged_of or (verdict,):
        if part.fingerprint is not None and (
            not _is_fresh(part.fingerprint, client, tables, now) or tables.lockout.forgives(keys)
        ):
            events += (Succeeded(client, part.fingerprint, keys),)
        if part.record and not 0 <= now.wall - part.noted < USE_SECONDS:
            events += (KeyUsed(part, now.wall),)
    return _within_rates("rates", place, client, verdict, events, tables, now)


def _locked_out(place: Place, client: Client, seconds: float) -> Decision:
    return Decision("lockout", DENIALS[LOCKED_OUT], place, client, retry_after=seconds)


def is_preflight(view: RequestView) -> bool:
    """Whether an OPTIONS is a true CORS preflight (Fetch, 3.2.2): with Origin and the method that is asked for."""
    return bool(view.fields.get(b"origin") and view.fields.get(b"access-control-request-method"))


def _overrides_method(view: RequestView, route: Route) -> bool:
    """Whether a header asks the backend for another method than the one that the route names."""
    return route.methods is not None and METHOD_OVERRIDE in view.fields


def upgrades(view: RequestView) -> bool:
    """Whether the request opens a WebSocket: gateways drop Upgrade from the subrequest, but not its key."""
    return b"sec-websocket-key" in view.fields or b"upgrade" in view.fields or view.scheme in (b"ws", b"wss")


def _without_credentials(view: RequestView, rules: Rules) -> RequestView:
    """What authenticators see of a request that presents nothing."""
    fields = {name: value for name, value in view.fields.items() if name not in rules.credential_headers}
    return replace(view, target=b"", fields=fields)


def _out_of_scope(identity: Identity, view: RequestView, place: Place, client: Client) -> Denial | None:
    """Why a credential of the identity may not do this."""
    for part in identity.parts:
        if any(scope.methods is not None for scope in part.scopes) and METHOD_OVERRIDE in view.fields:
            return DENIALS[MALFORMED_SUBREQUEST]
        refused = refusal(part.scopes, view.method, place, client) if part.scopes else None
        if refused is not None:
            return refused
    return None


def _user_digest(view: RequestView) -> bytes | None:
    """One counter for `bob`, `BOB` and ` bob`; a digest, because a stranger chooses the length."""
    user = basic_user(view)
    if user is None:
        return None
    return blake2b(user.strip().casefold().encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _is_known(verdict: Judged, client: Client, tables: Tables, now: Now) -> bool:
    """Whether every credential of the verdict was allowed from this client before; a network has none to know."""
    if isinstance(verdict, Need):
        return _knows(verdict.key, client, tables, now)
    return isinstance(verdict, Identity) and all(
        part.fingerprint is None or _knows(part.fingerprint, client, tables, now) for part in verdict.parts
    )


def _knows(fingerprint: bytes, client: Client, tables: Tables, now: Now) -> bool:
    if client.known == fingerprint and now.monotonic - client.known_at < KNOWN_SECONDS:
        return True
    return tables.known.knows(client.key, fingerprint, now.monotonic)


def _is_fresh(fingerprint: bytes, client: Client, tables: Tables, now: Now) -> bool:
    """Whether this credential's last success from this client was noted within the hour; most clients have one."""
    if client.known == fingerprint and now.monotonic - client.known_at < FRESH_SECONDS:
        return True
    return tables.known.fresh(client.key, fingerprint, now.monotonic)


def _crosses_site(view: RequestView, place: Place) -> bool:
    """Whether a page of another site sent what the browser adds by itself: the backend knows no CSRF token."""
    if view.method in (b"GET", b"HEAD") and not upgrades(view):
        return False
    origin = view.fields.get(b"origin")
    if origin is not None and origin in place.route.origins:
        return False
    if view.fields.get(b"sec-fetch-site") == b"cross-site":
        return True
    if origin is None:
        return False
    host = origin.partition(b"://")[2].decode("latin-1").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name == place.host.name:
        return False
    # The browser says "same site" by its public suffix list; two labels in common keep a forged pair from passing.
    same_site = view.fields.get(b"sec-fetch-site") == b"same-site"
    return not (same_site and name.split(".")[-2:] == place.host.name.split(".")[-2:])


def _within_rates(
    station: str,
    place: Place,
    client: Client,
    identity: Identity,
    events: tuple[Event, ...],
    tables: Tables,
    now: Now,
) -> Decision:
    """Allow, charging every limit; or deny, charging none and naming the one that takes longest."""
    limits = identity.limits if place.route.limit is None else _with_route(place.route, client, identity)
    if not limits:
        return Decision(station, None, place, client, identity, events)
    charges, wait, tightest = tables.rates.price(limits, now.monotonic)
    if tightest is None:
        return Decision(station, None, place, client, identity, events, charges)
    _, limit, scope = tightest
    # A right credential is known from here on, even if it comes too often.
    return Decision("rates", DENIALS[RATE_LIMITED], place, client, identity, events, (), wait, limit, scope)


def _with_route(route: Route, client: Client, identity: Identity) -> Limits:
    """The identity's limits and the route's, which holds for each identity, and for each client without one."""
    assert route.limit is not None
    if identity.credential:
        return (*identity.limits, (f"{route.limit_key}\n{identity.credential}", route.limit, "route"))
    return (*identity.limits, (f"{route.limit_key}\n{client.key.hex()}", route.limit, "client"))
