"""A client that sends exactly what it is told: names, duplicates and targets as an attacker would write them."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

TIMEOUT = 15.0
HOST = "llm.example.com"

# A gateway without a certificate for the host makes one of its own.
_UNVERIFIED = ssl.create_default_context()
_UNVERIFIED.check_hostname = False
_UNVERIFIED.verify_mode = ssl.CERT_NONE

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code of a denial; what the backend answered has none."""
        try:
            return str(self.json()["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return ""

    def all(self, name: str) -> list[str]:
        return self.headers.get_all(name) or []


def render(method: str, target: str, headers: Headers = (), body: bytes = b"", host: str | None = HOST) -> bytes:
    """A request, byte by byte as given. `host=None` leaves the Host header to `headers`."""
    lines = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body and not any(name.lower() in ("content-length", "transfer-encoding") for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


class Connection:
    """One TCP connection. Requests on it are kept alive unless they ask otherwise."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def send(self, raw: bytes) -> None:
        self.socket.sendall(raw)

    def receive(self, method: str = "GET") -> Answer:
        with self.open_response(method) as response:
            return Answer(response.status, response.headers, response.read())

    def open_response(self, method: str = "GET") -> http.client.HTTPResponse:
        """The response with its body still to be read, for streams."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        return response

    def request(
        self, method: str, target: str, headers: Headers = (), body: bytes = b"", host: str | None = HOST
    ) -> Answer:
        self.send(render(method, target, headers, body, host))
        return self.receive(method)


class Client:
    """Somebody with an address of his own: lockouts and client rates of one test do not touch another."""

    def __init__(self, port: int, source: str, *, tls: bool = False) -> None:
        self.port = port
        self.source = source
        self.tls = tls

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT, source_address=(self.source, 0)) as sock:
            if not self.tls:
                yield Connection(sock)
                return
            with _UNVERIFIED.wrap_socket(sock, server_hostname=HOST) as encrypted:
                yield Connection(encrypted)

    def request(
        self, method: str, target: str, headers: Headers = (), body: bytes = b"", host: str | None = HOST
    ) -> Answer:
        with self.connect() as connection:
            return connection.request(method, target, [*headers, ("Connection", "close")], body, host)

    def get(self, target: str, *headers: tuple[str, str], host: str | None = HOST) -> Answer:
        return self.request("GET", target, headers, host=host)

    def post(self, target: str, *headers: tuple[str, str], body: bytes = b"{}") -> Answer:
        return self.request("POST", target, [("Content-Type", "application/json"), *headers], body)


def connection_is_closed(sock: socket.socket) -> bool:
    """Whether the other side has ended the connection after its answer."""
    sock.settimeout(0.05)
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except TimeoutError:
        return False
    finally:
        sock.settimeout(TIMEOUT)
