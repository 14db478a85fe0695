"""The deployment as somebody outside sees it: how it is asked, and what it answers when nobody attacks.

Knows what the operator said of it and HTTP; no check and no gateway's configuration.
"""

import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.doctor.finding import Skipped
from forwardauth.doctor.wire import NO_ANSWER, Answer, Headers, Place, Request

MARK_HEADER = "X-Doctor-Mark"
"""In every request; a backend that echoes headers shows by its value that a request came through."""

STRANGER = "doctor.invalid"
"""A host that nobody serves (RFC 2606)."""

USUAL_OPEN_PATH = "/health"

_DENIALS = frozenset({400, 401, 403, 407, 429})
"""A page that a gateway puts in a denial's place may repeat our mark, and opens nothing."""

_CODE = re.compile(r"[a-z_]{1,40}")


class Unfit(Exception):
    """The deployment cannot be examined as it is told. The text says what to change."""


@dataclass(frozen=True, slots=True)
class Instructions:
    """What the operator says: where the deployment is, a valid credential for it, and what may be tried.

    `host` is the Host header; `closed` are targets that need the credential, `open` one that does not (None: look
    whether `/health` is one), on `open_host`; `backend` is where the backend itself listens. `burst` is how many wrong
    credentials may be sent in a row, 0 for none.
    """

    place: Place
    host: str
    closed: tuple[str, ...]
    scheme: str = "http"
    credential: Headers = field(default=(), repr=False)
    open: str | None = None
    open_host: str | None = None
    backend: Place | None = None
    identity: tuple[str, ...] = tuple(IDENTITY_FIELDS.values())
    echo: bool = False
    burst: int = 0


@dataclass(frozen=True, slots=True)
class Way:
    """A request that reaches the backend as it should: on a closed path with the credential, or on the open path."""

    target: str
    host: str
    credential: Headers = field(default=(), repr=False)


@dataclass(slots=True)
class Site:
    """The deployment, and what it answers to ordinary requests.

    `denied` is a closed path's answer without a credential, `rejected` with a wrong one, `allowed` by path with the
    right one; `stranger` that of a host which nobody serves, `missing` how the backend says 404. `open_unless_named` is
    a deployment where a path of no meaning is open. `echoing` are the ways by which the backend tells its headers.
    """

    told: Instructions
    mark: str = field(default_factory=lambda: secrets.token_hex(12))
    denied: Answer = NO_ANSWER
    rejected: Answer | None = None
    allowed: dict[str, Answer] = field(default_factory=dict)
    open: str | None = None
    opened: Answer = NO_ANSWER
    stranger: Answer = NO_ANSWER
    missing: Answer | None = None
    open_unless_named: bool = False
    echoing: list[Way] = field(default_factory=list)

    @property
    def closed(self) -> str:
        """The closed path that most checks try."""
        return self.told.closed[0]

    @property
    def open_host(self) -> str:
        """The host of the open path."""
        return self.told.open_host or self.told.host

    @property
    def unguarded(self) -> bool:
        """Whether the closed path needs no credential at all."""
        return self.came_through(self.denied, self.closed)

    async def ask(
        self,
        target: str,
        *headers: tuple[str, str],
        method: str = "GET",
        host: str | None = "",
        body: bytes = b"",
        credential: Headers = (),
        may_be_limited: bool = False,
    ) -> Answer:
        """Send one request; `host=""` is the deployment's own, None leaves it out. Raises Unreachable.

        Raises Skipped at a 429, which tells nothing of the request, unless it `may_be_limited`.
        """
        ours = ((MARK_HEADER, self.mark), ("User-Agent", "forwardauth-doctor"), ("Accept", "application/json"))
        request = Request(target, method, (*ours, *credential, *headers), self.told.host if host == "" else host, body)
        answer = await self.told.place.send(request)
        if answer.status == 429 and not may_be_limited:
            wait = answer.get("Retry-After")
            raise Skipped(f"a rate limit is used up (429){f'; again in {wait} s' if wait.isdecimal() else ''}")
        return answer

    async def along(self, way: Way, *headers: tuple[str, str]) -> Answer:
        """Send a request on its way to the backend, with further headers."""
        return await self.ask(way.target, *headers, host=way.host, credential=way.credential)

    async def look(self) -> None:
        """See what ordinary requests are answered. Raises Unreachable, or Unfit."""
        try:
            self.denied = await self.ask(self.closed)
            if self.denied.status == 0:
                raise Unfit(f"{self.told.place} does not answer in HTTP/1.1; is the scheme right?")
            self.stranger = await self.ask("/", host=STRANGER)
            await self._look_with_credential()
            await self._look_nowhere()
            await self._look_at_open_path()
        except Skipped as limited:
            raise Unfit(f"this address is locked out, or {limited}") from None
        self._look_for_echo()

    async def _look_with_credential(self) -> None:
        credential = self.told.credential
        if not credential:
            return
        for path in self.told.closed:
            self.allowed[path] = await self.ask(path, credential=credential)
        if not self.unguarded:
            self.rejected = await self.ask(self.closed, credential=wrong(credential))

    async def _look_nowhere(self) -> None:
        nowhere = f"/{self.mark}"
        found, refused = await self.ask(nowhere, credential=self.told.credential), await self.ask(nowhere)
        self.open_unless_named = refused.status // 100 == 2
        if found.status // 100 == 4 and _shape(found, nowhere) != _shape(refused, nowhere):
            self.missing = _shape(found, nowhere)

    async def _look_at_open_path(self) -> None:
        path = self.told.open or USUAL_OPEN_PATH
        answer = await self.ask(path, host=self.open_host)
        if answer.status // 100 == 2 and path not in self.told.closed:
            self.open, self.opened = path, answer
        elif self.told.open is not None:
            raise Unfit(
                f"--open {path} is answered with {answer.status} without a credential; name a path that is open"
            )

    def _look_for_echo(self) -> None:
        if not self.told.echo:
            return
        ways = []
        if self.right_credential_passes:
            ways.append((Way(self.closed, self.told.host, self.told.credential), self.allowed[self.closed]))
        if self.open is not None:
            ways.append((Way(self.open, self.open_host), self.opened))
        self.echoing = [way for way, answer in ways if self.mark in arrived(answer).get(MARK_HEADER.lower(), ())]
        if ways and not self.echoing:
            raise Unfit(f"--echo: no answer repeats the request header {MARK_HEADER}; name a path that does")

    @property
    def right_credential_passes(self) -> bool:
        """Whether the closed path opens by the credential."""
        answer = self.allowed.get(self.closed)
        return answer is not None and answer.status // 100 == 2

    async def need_guarded_post(self) -> None:
        """Raises Skipped where a plain POST comes through, which tells enough of all that goes out from one."""
        if self.came_through(await self.ask(self.closed, method="POST"), self.closed):
            raise Skipped("a POST needs no credential at all")

    def came_through(self, answer: Answer, target: str) -> bool:
        """Whether the backend gave this answer: a success, our mark repeated, or its own way to say 404."""
        if answer.status // 100 == 2 or answer.status == 101:
            return True
        if self.mark.encode() in answer.body and answer.status not in _DENIALS:
            return True
        return self.missing is not None and _shape(answer, target) == self.missing

    def opens(self, answer: Answer, target: str) -> bool:
        """Whether an answer to an odd target shows that the target opens a closed path.

        Where everything is open that is not closed by name, only the closed path's content does.
        """
        return self.is_closed_content(answer) if self.open_unless_named else self.came_through(answer, target)

    def is_closed_content(self, answer: Answer) -> bool:
        """Whether an answer is what a closed path gives to those who may have it, and not what anybody gets."""
        known = [allowed.body for allowed in self.allowed.values() if allowed.status // 100 == 2 and allowed.body]
        return answer.status // 100 == 2 and answer.body in known and answer.body != self.opened.body


async def collected(found: AsyncIterator[str]) -> list[str]:
    """Everything that is found, or what was before a rate limit ended it. Raises Skipped where that is nothing."""
    kept: list[str] = []
    try:
        async for each in found:
            kept.append(each)
    except Skipped:
        if not kept:
            raise
    return kept


def _shape(answer: Answer, target: str) -> Answer:
    """An answer without what is different each time: most headers, and the path repeated in the body."""
    return Answer(
        answer.status, (("Content-Type", answer.get("Content-Type")),), answer.body.replace(target.encode(), b"")
    )


def wrong(credential: Headers) -> Headers:
    """The same headers, the last of them with a value that nobody ever had. A lockout counts it as a guess."""
    *others, (name, value) = credential
    return (*others, (name, _wrong_value(name.lower(), value)))


def _wrong_value(name: str, value: str) -> str:
    guess = f"doctor-{secrets.token_hex(16)}"
    if name == "cookie":
        return "; ".join(f"{pair.partition('=')[0].strip()}={guess}" for pair in value.split(";"))
    scheme, space, _ = value.partition(" ")
    if scheme.lower() == "basic":
        return f"{scheme} {base64.b64encode(f'doctor:{guess}'.encode()).decode()}"
    return f"{scheme} {guess}" if name in ("authorization", "proxy-authorization") and space else guess


def arrived(answer: Answer) -> dict[str, list[str]]:
    """The request headers that an echo repeats, by their names in lower case; nothing, where it repeats none.

    Read are JSON objects of names and values, by themselves or below `headers`, and texts with `Name: value` lines.
    """
    found: dict[str, list[str]] = {}
    for name, value in _lines(answer.body.decode("utf-8", "replace")):
        found.setdefault(name.lower(), []).append(value)
    return found


def _lines(text: str) -> Iterator[tuple[str, str]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        split = (line.partition(":") for line in text.splitlines())
        yield from ((name.strip(), value.strip()) for name, colon, value in split if colon)
        return
    headers = document.get("headers", document) if isinstance(document, dict) else {}
    for name, values in headers.items() if isinstance(headers, dict) else ():
        for value in values if isinstance(values, list) else [values]:
            yield str(name), str(value)


def code(answer: Answer) -> str:
    """The error code in the body of a denial, empty where there is none."""
    try:
        found = json.loads(answer.body)["error"]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return found if isinstance(found, str) and _CODE.fullmatch(found) else ""


def described(answer: Answer) -> str:
    """A status and, where the body has one, the error code: `401 missing_token_header`."""
    if answer.status == 0:
        return "no answer"
    return f"{answer.status} {code(answer)}".rstrip()
