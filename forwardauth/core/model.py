"""What a decision is made of. Knows the shapes, and no rule: rules are in the files that are named after them.

Values of a request stay bytes as the gateway sent them; what was judged or configured is text. The classes of the hot
path have slots and are not frozen, because a frozen dataclass costs a call for each field; nobody changes them. The
Struct of msgspec is the one piece of a library in a pure room.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol

import msgspec

from forwardauth.core.rate import Limit, Limits, RateTable
from forwardauth.core.reasons import Denial


class Record(msgspec.Struct, eq=False, gc=False):
    """What is made for each request or kept for each client, and only filled and read: decisions take 4 % less time.

    It is made without a call into Python, and the garbage collector does not see it, so nothing that a record holds may
    lead back to it.
    """


class Now(Record):
    """Two clocks: `wall` (seconds since 1970) for expiries, `monotonic` (seconds) for lockout, rates and memos."""

    wall: float
    monotonic: float


class Shaped(Record):
    """Headers whose names came before in this order; `names` is one object for all of them.

    `match` is what read the message: its first group is the target, and each further one the value of a name. Most
    values nobody wants, and what nobody takes out of the match is never made.
    """

    names: tuple[bytes, ...]
    match: re.Match[bytes]

    @property
    def values(self) -> tuple[bytes, ...]:
        """The values of all names."""
        return self.match.groups()[1:]

    def __repr__(self) -> str:
        """Without the values, which may be secrets."""
        return f"Shaped(names={self.names!r})"


Headers = list[tuple[bytes, bytes]] | Shaped
"""Names and values in the order in which they were sent."""


class Subrequest(Record):
    """What a gateway asked, as the server read it: nothing interpreted.

    `peer` is the TCP neighbour's address, None on a unix socket. Header names keep the case they were sent in. `read`
    is where the service keeps what it read from it, and by which configuration.
    """

    method: bytes
    target: bytes
    headers: Headers
    peer: str | None
    read: "tuple[object, RequestView] | None" = None

    def __repr__(self) -> str:
        """Without what may hold a secret."""
        return f"Subrequest(method={self.method!r}, peer={self.peer!r})"


@dataclass(slots=True, eq=False)
class RequestView:
    """The end caller's request, as one dialect reads it from a subrequest.

    `fields` holds the headers that somebody wants, by lower-case name. `unreadable` says which header was missing,
    empty, repeated or unreadable; `lookalike` names a header that imitates one that decides, `repeated` a credential
    header that stands there twice. `target` is the path and query, raw. What was found out about it alone is kept in
    it, because a view of a message that comes again is read once: `arrival` is where the request goes and whose it is,
    `hashed` the credential that was hashed last, with its digest.
    """

    peer_trusted: bool = False
    unreadable: str | None = None
    lookalike: bytes | None = None
    method: bytes = b""
    scheme: bytes = b""
    host: bytes = b""
    target: bytes = field(default=b"", repr=False)
    forwarded_for: bytes = b""
    fields: dict[bytes, bytes] = field(default_factory=dict, repr=False)
    repeated: bytes | None = None
    arrival: Any = field(init=False, default=None, repr=False)
    hashed: tuple[bytes, bytes] | None = field(init=False, default=None, repr=False)


class Client(Record):
    """The end caller's address.

    `key` counts for it alone (an IPv4 address, an IPv6 /64), `keys` are all that its failures count against.
    `further_hops` tells that `X-Forwarded-For` had more entries than the configured depth; `exempt` that many callers
    share the address, so that it is never locked out as a whole. `known` is the fingerprint of the credential that was
    allowed from it last, and `known_at` when (monotonic seconds): most clients have one, and need no look at the table.
    """

    address: str
    key: bytes
    keys: tuple[tuple[bytes, int], ...]
    further_hops: bool
    exempt: bool
    known: bytes | None = None
    known_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing that a credential may do: a path pattern, and methods, hosts, client networks and models.

    No `methods` (None), `hosts`, `clients` or `models` (empty) means all of them.
    """

    path: str
    methods: frozenset[bytes] | None = None
    hosts: tuple[str, ...] = ()
    clients: tuple[IPv4Network | IPv6Network, ...] = ()
    models: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Identity:
    """Who a request is for, and what the credential that proved it may do.

    `authenticators` are the names that accepted, in order. `credential` is (authenticator, credential id) in one
    string: the key of its rate limits, empty where nothing was presented. `fingerprint` is a keyed digest of the
    secret, by which a credential is known again from the same client. `ambient` credentials are sent by browsers
    unasked (cookie, Basic, network). `record` is the public id of a key of the database whose last use is kept, `noted`
    when it was noted last (seconds since 1970). A merged identity is `merged_of` others; `limits` are the rate limits
    of all of them, with their keys, `scoped` tells whether one of them has scopes; `method` joins the names by `+`.
    `made` is where an endpoint keeps how it answered the last decision about it. Nothing here leads back to the
    identity, so a table that lets it go frees it at once.
    """

    authenticators: tuple[str, ...] = ()
    user: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()
    tenant: str = ""
    key: str = ""
    credential: str = ""
    fingerprint: bytes | None = None
    ambient: bool = False
    limit: Limit | None = None
    scopes: tuple[Scope, ...] = ()
    record: str = ""
    noted: float = field(init=False, default=0.0)
    made: Any = field(init=False, default=None, repr=False)
    merged_of: tuple["Identity", ...] = ()
    limits: Limits = field(init=False, default=())
    scoped: bool = field(init=False, default=False)
    method: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self.method = "+".join(self.authenticators)
        self.scoped = any(part.scopes for part in self.parts)
        self.limits = tuple((part.credential, part.limit, "credential") for part in self.parts if part.limit)

    @property
    def parts(self) -> "tuple[Identity, ...]":
        """What it is merged of, or itself."""
        return self.merged_of or (self,)

    def same_caller(self, other: "Identity") -> bool:
        """Whether both stand for the same caller, whoever accepted them."""
        return (self.user, self.email, self.groups, self.tenant, self.key) == (
            other.user,
            other.email,
            other.groups,
            other.tenant,
            other.key,
        )


ANONYMOUS = Identity()


class Reserved(Record):
    """An attempt whose slow check begins: it stands against the client until it is settled."""

    keys: tuple[tuple[bytes, int], ...]


class Failed(Record):
    """A wrong credential, counted against each of `keys` with its multiple of the limit."""

    keys: tuple[tuple[bytes, int], ...]


class Succeeded(Record):
    """A credential that was allowed from a client; `keys` are the failures that it may clear."""

    client: Client
    fingerprint: bytes
    keys: tuple[tuple[bytes, int], ...]


class KeyUsed(Record):
    """The key of an identity was allowed at `wall` (seconds since 1970)."""

    identity: Identity
    wall: float


Event = Reserved | Failed | Succeeded | KeyUsed


@dataclass(slots=True, eq=False)
class Need:
    """What `decide` must learn from the world before it can answer.

    `fetcher` names who finds it out, `key` under which the fact is looked up afterwards. `args` may hold secrets: they
    are in no repr. Needs with the same `turn` (a client) are answered one after the other.
    """

    fetcher: str
    key: bytes
    args: tuple[object, ...] = field(default=(), repr=False)
    turn: bytes = b""
    events: tuple[Event, ...] = ()


class Facts(Protocol):
    """What was found out for earlier needs."""

    def get(self, key: bytes, /) -> bool | None:
        """The answer to a need, or None if nobody has asked yet."""
        ...


@dataclass(slots=True, eq=False)
class Rejected:
    """A credential that is bad. `value` is what was presented, where another authenticator may know it."""

    denial: Denial
    value: bytes | None = field(default=None, repr=False)


Verdict = Identity | Rejected | Need | None


class SourceName(Protocol):
    """One place where a credential can stand. `header` is the lower-case header name that it reads.

    `ambient` tells that browsers send it unasked.
    """

    @property
    def header(self) -> bytes:
        """The lower-case header name."""
        ...

    @property
    def ambient(self) -> bool:
        """Whether browsers send it unasked."""
        ...


class Authenticator(Protocol):
    """One configured way to prove who is calling.

    `judge` answers an Identity, Rejected (mine but bad), a Need, or None: nothing here is mine. An exception is a fault
    and denies. `missing` is what a caller reads who presented nothing; None where presenting is impossible (network).
    `guessable` secrets (passwords) are not looked at when something else was accepted: the answer would tell. `reads`
    are further headers that decide and hold no secret (a tenant's name), as they are written.
    """

    name: str
    missing: Denial | None
    guessable: bool
    reads: tuple[str, ...]

    @property
    def sources(self) -> tuple[SourceName, ...]:
        """Where it looks: gateways must strip these."""
        ...

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now) -> Verdict:
        """Judge what the request presents to this authenticator."""
        ...

    def foreign(self, header: bytes, value: bytes) -> bool | None:
        """Whether this value of a header is somebody else's credential; None if the header is not read here."""
        ...

    @property
    def bypass(self) -> "tuple[IPv4Network | IPv6Network, ...]":
        """The networks whose clients pass by their address alone."""
        ...


class LockoutTable(Protocol):
    """Failures and blocks, read-only."""

    def blocked_for(self, keys: tuple[tuple[bytes, int], ...], now: float) -> float:
        """Seconds that the longest block still lasts; 0 without one."""
        ...

    def must_wait(self, keys: tuple[tuple[bytes, int], ...], now: float) -> bool:
        """Whether attempts that are still being checked could fill the limit."""
        ...

    def forgives(self, keys: tuple[tuple[bytes, int], ...]) -> bool:
        """Whether a success would clear failures of one of `keys`."""
        ...


class KnownTable(Protocol):
    """Credentials that were allowed from a client before, read-only."""

    def knows(self, client: bytes, fingerprint: bytes, now: float) -> bool:
        """Whether this credential was allowed from this client within 24 hours."""
        ...

    def fresh(self, client: bytes, fingerprint: bytes, now: float) -> bool:
        """Whether that was noted so recently that noting it again changes nothing."""
        ...


@dataclass(slots=True, eq=False)
class Tables:
    """What outlives a configuration: counters and blocks. `decide` reads them; `service.py` alone changes them."""

    lockout: LockoutTable
    known: KnownTable
    rates: RateTable
