"""The words in which the table is written. Knows no gateway by name, and sends nothing.

What holds for every case is said here once, in `differences`: a denial reaches no backend; an allowed request reaches
it once and whole, without a credential, with the caller that the service named and no other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from tests.deploy.rig.backend import Seen
from tests.deploy.rig.client import HOST, Headers

from .situations import MAIN, Situation

IDENTITY_HEADERS = ("X-Auth-User", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Tenant", "X-Auth-Key", "X-Auth-Method")
CREDENTIAL_HEADERS = ("Authorization", "X-API-Token", "X-API-Key")
MARK = "mallory"
"""What forged headers say: no header of the backend's holds it."""

Value = str | list[str] | re.Pattern[str]
"""A header: "" is empty or absent, other text is the one line's, a list is every line, a pattern fits the one line."""


class By(Enum):
    """How a request is sent."""

    HTTP1 = "HTTP/1.1"
    H2C = "HTTP/2 without TLS, by prior knowledge"
    H2 = "HTTP/2 over TLS"
    STREAM = "the second half of the answer is sent once the first was read"
    EXPECT = "the body is sent once the gateway asked for it"
    WEBSOCKET = "one message after the handshake"
    CROWD = "forty at once from one client; the answer is the one with the highest status"

    @property
    def protocol(self) -> str:
        """How the answer's status line begins."""
        return "HTTP/2" if self in (By.H2, By.H2C) else "HTTP/1.1"


@dataclass(frozen=True)
class Request:
    """A request as its client writes it. `host=None` leaves the Host header to `headers`; `chunked` is its framing."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    host: str | None = HOST
    chunked: bool = False

    @property
    def path(self) -> str:
        """The target in origin form (RFC 9112 3.2.1), which is what a backend gets of an absolute one."""
        return re.sub(r"^https?://[^/]*", "", self.target)


@dataclass(frozen=True)
class Outcome:
    """What came back to the client, and what reached the backend. Status 0: the connection ended without an answer.

    `early` is what the client had before it went on: the `first` event of a stream, the `100` that it waited for.
    """

    status: int
    protocol: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    early: str = ""
    reached: tuple[Seen, ...] = ()

    def all(self, name: str) -> list[str]:
        """Every line of a header of the answer."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def code(self) -> str:
        """The error code of a denial in OpenAI's shape."""
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return ""

    @property
    def is_the_services(self) -> bool:
        """Whether the service wrote it: all its denials have these two headers."""
        return not self.reached and bool(self.all("Cache-Control") and self.all("X-Content-Type-Options"))

    def __str__(self) -> str:
        """For the message of a failed test."""
        whose = "the backend's" if self.reached else "the service's" if self.is_the_services else "the gateway's own"
        return f"{self.status} {self.code or self.body[:80]!r}, {whose}"


@dataclass(frozen=True)
class Caller:
    """As whom a request reaches the backend. `method` is the authenticator's name."""

    user: str = ""
    key: str = ""
    method: str = ""

    @property
    def headers(self) -> dict[str, Value]:
        """Every identity header."""
        told: dict[str, Value] = {"X-Auth-User": self.user, "X-Auth-Key": self.key, "X-Auth-Method": self.method}
        return dict.fromkeys(IDENTITY_HEADERS, "") | told

    def __str__(self) -> str:
        """As the page names him."""
        return " and ".join(f"`{name}`" for name in (self.user, self.key) if name) or "nobody"


@dataclass(frozen=True)
class Expect:
    """What follows. Without a `caller` the request reaches no backend.

    `headers` are the client's and `backend` the backend's, beside what follows from the caller. `target` is what the
    backend is asked for, where it is not what was sent. `own` is an answer of the gateway itself, of which only the
    status is said. `says` is for the page, where the words would be others than `text` finds.
    """

    status: int
    code: str = ""
    body: bytes | None = None
    headers: Mapping[str, Value] = field(default_factory=dict)
    caller: Caller | None = None
    backend: Mapping[str, Value] = field(default_factory=dict)
    target: str | None = None
    early: str = ""
    own: bool = False
    says: str = ""

    @property
    def text(self) -> str:
        """As the page has it: with a code it is the service's answer, a bare status is the gateway's own."""
        if self.says:
            return self.says
        if self.caller is not None:
            return f"{self.status} as {self.caller}"
        return f"{self.status} `{self.code}`" if self.code else str(self.status)


@dataclass(frozen=True)
class Instead:
    """What some ways give their clients instead, and why."""

    ways: tuple[str, ...]
    expect: Expect
    why: str


@dataclass(frozen=True)
class Case:
    """One line of the table. `before` is sent first, by the same client on the same connection."""

    name: str
    send: Request
    expect: Expect
    instead: tuple[Instead, ...] = ()
    before: tuple[Request, ...] = ()
    by: By = By.HTTP1
    situation: Situation = MAIN

    def but(self, why: str, *ways: str, expect: Expect) -> Case:
        """The same, with what these ways give their clients instead."""
        return replace(self, instead=(*self.instead, Instead(ways, expect, why)))

    def exception(self, way: str) -> Instead | None:
        """What is said about this way alone."""
        return next((instead for instead in self.instead if way in instead.ways), None)

    def expected(self, way: str) -> Expect:
        """What a client of this way gets."""
        exception = self.exception(way)
        return exception.expect if exception else self.expect


class Group:
    """Cases about one thing: a section of the page."""

    def __init__(self, name: str, *cases: Case) -> None:
        self.name = name
        self.cases = cases


def allowed(
    caller: Caller,
    *,
    status: int = 200,
    body: bytes | None = None,
    headers: Mapping[str, Value] | None = None,
    backend: Mapping[str, Value] | None = None,
    target: str | None = None,
    early: str = "",
    says: str = "",
) -> Expect:
    """The request reaches the backend as this caller."""
    return Expect(
        status,
        body=body,
        headers=headers or {},
        caller=caller,
        backend=backend or {},
        target=target,
        early=early,
        says=says,
    )


def denied(status: int, code: str = "", challenge: str = "", body: str | None = None, **headers: Value) -> Expect:
    """The service's denial; keywords are headers, with `_` for `-`."""
    further = {name.replace("_", "-"): value for name, value in headers.items()}
    challenges: Value = [challenge] if challenge else []
    return Expect(status, code, None if body is None else body.encode(), {**further, "WWW-Authenticate": challenges})


def own(status: int, says: str = "") -> Expect:
    """The gateway's own answer, before the service is asked or because it cannot be."""
    return Expect(status, own=True, says=says)


def differences(case: Case, expect: Expect, outcome: Outcome) -> list[str]:
    """In what the outcome is not what `expect` says; empty where it is."""
    found = list(_at_the_client(case, expect, outcome))
    if expect.caller is not None:
        found += _at_the_backend(case.send, expect, expect.caller, outcome)
    elif outcome.reached:
        found.append(f"the backend got {[(seen.method, seen.target) for seen in outcome.reached]}")
    return found


def _at_the_client(case: Case, expect: Expect, outcome: Outcome) -> Iterator[str]:
    if outcome.status != expect.status:
        yield f"status {outcome.status} instead of {expect.status}: {outcome}"
    foretold = {name.lower() for name in expect.headers}
    for name, _ in outcome.headers:
        if name.lower().startswith(("x-auth-", "x-deny-")) and name.lower() not in foretold:
            yield f"the client reads {name}"
    if expect.own:
        if outcome.is_the_services:
            yield f"the service's answer instead of the gateway's own: {outcome}"
        return
    if outcome.protocol != case.by.protocol:
        yield f"{outcome.protocol} instead of {case.by.protocol}"
    if expect.caller is None:
        yield from _of_every_denial(case.send.method, outcome)
    if outcome.code != expect.code:
        yield f"code {outcome.code!r} instead of {expect.code!r}: {outcome}"
    if expect.body is not None and outcome.body != expect.body:
        yield f"body {outcome.body[:200]!r} instead of {expect.body[:200]!r}"
    if outcome.early != expect.early:
        yield f"early {outcome.early!r} instead of {expect.early!r}"
    for name, value in expect.headers.items():
        if not _fits(outcome.all(name), value):
            yield f"{name} at the client: {outcome.all(name)} instead of {value}"


def _of_every_denial(method: str, outcome: Outcome) -> Iterator[str]:
    """The headers that a denial has once. To HEAD the type may be left out (RFC 9110 9.3.2), as Envoy does."""
    for name, value in (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")):
        if outcome.all(name) != [value]:
            yield f"{name} at the client: {outcome.all(name)} instead of {value}"
    types = outcome.all("Content-Type")
    if (len(types) != 1 or (outcome.code and types[0] != "application/json")) and method != "HEAD":
        yield f"Content-Type at the client: {types}"


def _at_the_backend(request: Request, expect: Expect, caller: Caller, outcome: Outcome) -> Iterator[str]:
    if len(outcome.reached) != 1:
        yield f"the backend got {len(outcome.reached)} requests"
        return
    seen = outcome.reached[0]
    target = request.path if expect.target is None else expect.target
    if (seen.method, seen.target) != (request.method, target):
        yield f"the backend got {seen.method} {seen.target} instead of {request.method} {target}"
    if seen.body != request.body:
        yield f"the backend got {len(seen.body)} bytes that are not the {len(request.body)} that were sent"
    if any("x-auth-" in line.lower() for line in seen.all("Connection")):
        yield f"Connection at the backend: {seen.all('Connection')}, which a further proxy would obey"
    if forged := [header for header in seen.headers if MARK in header[1]]:
        yield f"the backend reads {forged}"
    for name, value in (dict.fromkeys(CREDENTIAL_HEADERS, "") | caller.headers | dict(expect.backend)).items():
        if not _fits(seen.all(name), value):
            yield f"{name} at the backend: {seen.all(name)} instead of {value}"


def _fits(lines: list[str], value: Value) -> bool:
    if isinstance(value, list):
        return lines == value
    if isinstance(value, re.Pattern):
        return len(lines) == 1 and value.fullmatch(lines[0]) is not None
    return lines == [value] or (not value and not lines)
