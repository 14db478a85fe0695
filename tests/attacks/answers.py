"""What came back over a connection, read as strictly as HTTP is written. Knows no gateway and no decision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import h11


@dataclass(frozen=True)
class Answer:
    """One answer of the service. `closes` tells that it ends the connection."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    closes: bool

    def all(self, name: str) -> list[str]:
        """Every line of a header."""
        return [value for key, value in self.headers if key == name.lower()]

    def one(self, name: str) -> str:
        """A header's value, empty when it is absent or empty; twice is a mistake wherever it is asked for."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands there {len(values)} times: {values}"
        return values[0] if values else ""

    @property
    def meant(self) -> int:
        """The status that the client is to get: nginx's is carried in a header of a 401 or 403."""
        return int(self.one("X-Deny-Status") or self.status)

    @property
    def said(self) -> Any:
        """The body that the client is to get, read as JSON."""
        return json.loads(self.one("X-Deny-Body") or self.body)

    @property
    def word(self) -> str:
        """`allow`, or the code of a denial in OpenAI's shape."""
        return "allow" if self.status == 200 else str(self.said["error"]["code"])


def answers(written: bytes, asked: list[bytes]) -> list[Answer]:
    """The answers in what a server wrote; `asked` are the methods of the requests, in order (GET where none is left).

    Raises h11.RemoteProtocolError for anything that is no HTTP, and AssertionError for bytes behind the last answer.
    """
    found: list[Answer] = []
    methods = list(asked)
    rest = written
    while rest:
        method = methods.pop(0) if methods else b"GET"
        answer, rest = _first(rest, method)
        found.append(answer)
        assert not (rest and answer.closes), "bytes behind an answer that ends the connection"
    return found


def _first(written: bytes, method: bytes) -> tuple[Answer, bytes]:
    connection = h11.Connection(h11.CLIENT)
    # A CONNECT would make a tunnel of a 200; what the service answers is an answer.
    connection.send(h11.Request(method="HEAD" if method == b"HEAD" else "GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(written)
    response, body = None, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            raise AssertionError(f"an answer that does not end: {event}, {written[:200]!r}")
    assert response is not None
    headers = tuple((name.decode(), value.decode("latin-1")) for name, value in response.headers)
    lengths = [value for name, value in headers if name == "content-length"]
    assert len(lengths) == 1, "an answer has one length"
    closes = ("connection", "close") in headers
    return Answer(response.status_code, headers, body, closes), connection.trailing_data[0]
