"""HTTP/1.1 as an attacker writes it: bytes as they are given, one connection for each request. Knows no check.

An HTTP library would mend what a probe is about: absolute-form targets, odd paths, repeated and odd header names.
"""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

Headers = tuple[tuple[str, str], ...]

_LONGEST_HEAD = 256 << 10
_LONGEST_BODY = 1 << 20
_BODY_SECONDS = 2.0
_BODILESS = frozenset({101, 204, 304})


class Unreachable(Exception):
    """Nobody accepts a connection there, or its certificate is not accepted here. The text says which."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, of which every byte is the caller's. `host=None` leaves the Host line out.

    A body shorter than its announced length is all that is ever sent.
    """

    target: str
    method: str = "GET"
    headers: Headers = field(default=(), repr=False)
    host: str | None = None
    body: bytes = b""

    def render(self) -> bytes:
        """The bytes of it (RFC 9112 3 to 6)."""
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self._lines())]
        return "\r\n".join([*lines, "", ""]).encode("utf-8") + self.body

    def _lines(self) -> Iterator[tuple[str, str]]:
        written = {name.lower() for name, _ in self.headers}
        if self.host is not None:
            yield "Host", self.host
        yield from self.headers
        if self.body and not written & {"content-length", "transfer-encoding"}:
            yield "Content-Length", str(len(self.body))
        if "connection" not in written:
            yield "Connection", "close"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Status 0 is a connection that ended, stayed silent, or did not speak HTTP/1.1."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """The values of a header, one for each line."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str:
        """The values of a header in one line (RFC 9110 5.3), empty when it is absent."""
        return ", ".join(self.all(name))


NO_ANSWER = Answer(0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect. `server_name` is whom the certificate is for; `seconds` bounds connecting, and one exchange."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    seconds: float = 10.0

    async def send(self, request: Request) -> Answer:
        """Send one request and read its answer. Raises Unreachable."""
        reader, writer = await self._connect()
        try:
            async with asyncio.timeout(self.seconds):
                writer.write(request.render())
                return await _read(reader, request.method)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return NO_ANSWER
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        server_name = self.server_name if self.tls is not None else None
        try:
            async with asyncio.timeout(self.seconds):
                return await asyncio.open_connection(
                    self.host, self.port, ssl=self.tls, server_hostname=server_name, limit=_LONGEST_HEAD
                )
        except TimeoutError:
            raise Unreachable(f"{self}: no connection within {self.seconds:g} s") from None
        except (OSError, UnicodeError) as failure:
            raise Unreachable(f"{self}: {getattr(failure, 'strerror', None) or failure}") from None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def _read(reader: asyncio.StreamReader, method: str) -> Answer:
    """The final answer. Interim ones (RFC 9110 15.2) are passed over, but for 101, which ends HTTP/1.1 here."""
    while True:
        status, headers = _parse(await reader.readuntil(b"\r\n\r\n"))
        if status >= 200 or status == 101:
            answer = Answer(status, headers)
            body = b"" if method == "HEAD" or status in _BODILESS else await _body(reader, answer)
            return Answer(status, headers, body)


def _parse(head: bytes) -> tuple[int, Headers]:
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (len(status) == 3 and status.isascii() and status.isdigit()):
        raise ValueError("no status line of HTTP/1.1")
    split = (line.partition(":") for line in lines)
    return int(status), tuple((name.strip(), value.strip()) for name, _, value in split)


async def _body(reader: asyncio.StreamReader, answer: Answer) -> bytes:
    """The body, or what came of it before it broke off: a stream may never end."""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            if answer.get("Transfer-Encoding").lower().endswith("chunked"):
                await _chunks(reader, body)
            else:
                length = answer.get("Content-Length")
                await _fill(reader, body, int(length) if length.isascii() and length.isdigit() else _LONGEST_BODY)
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        pass
    return bytes(body)


async def _chunks(reader: asyncio.StreamReader, body: bytearray) -> None:
    while len(body) < _LONGEST_BODY and (size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)):
        await _fill(reader, body, len(body) + size)
        await reader.readexactly(2)


async def _fill(reader: asyncio.StreamReader, body: bytearray, length: int) -> None:
    """Read until the body has that many bytes, or as many as are looked at."""
    length = min(length, _LONGEST_BODY)
    while len(body) < length and (data := await reader.read(min(length - len(body), 65536))):
        body += data
