"""How a case is sent, byte by byte, and what comes back. Knows no gateway."""

from __future__ import annotations

import base64
import http.client
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from tests.deploy.rig.client import Client, Connection, render
from tests.deploy.rig.deployment import Deployment
from tests.deploy.rig.programs import find

from .case import By, Case, Outcome, Request

STREAM_SECONDS = 8.0
"""How long the first event may take: less than the backend waits before it sends the second one unasked."""

EXPECT_SECONDS = 3.0
"""After how long a body is sent without a 100; curl waits for one second."""

CROWD = 40
"""More than the service lets one client wait with (16), all before the first slow check has ended."""

FIRST_EVENT = b"data: first\n"
END_OF_HEAD = b"\r\n\r\n"
HELLO = b"hello"


def sent(site: Deployment, case: Case) -> Outcome:
    """Sends the case as a client that nobody has seen, and says what followed."""
    client = site.client()
    site.backend.seen.clear()
    outcome = _WAYS_TO_SEND[case.by](client, case, site)
    return replace(outcome, reached=tuple(site.backend.seen))


def _rendered(request: Request) -> bytes:
    headers, body = request.headers, request.body
    if request.chunked:
        headers, body = [*headers, ("Transfer-Encoding", "chunked")], _in_chunks(body)
    return render(request.method, request.target, headers, body, request.host)


def _in_chunks(body: bytes) -> bytes:
    """Two chunks and the last one (RFC 9112 7.1)."""
    half = len(body) // 2
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:])) + b"0\r\n\r\n"


def _received(connection: Connection, method: str) -> Outcome:
    with connection.open_response(method) as response:
        return _outcome(response, response.read())


def _outcome(response: http.client.HTTPResponse, body: bytes) -> Outcome:
    protocol = "HTTP/1.1" if response.version == 11 else "HTTP/1.0"
    return Outcome(response.status, protocol, tuple(response.headers.items()), body)


def _plainly(client: Client, case: Case, site: Deployment) -> Outcome:
    with client.connect() as connection:
        for request in case.before:
            connection.send(_rendered(request))
            _received(connection, request.method)
        site.backend.seen.clear()
        try:
            connection.send(_rendered(case.send))
            return _received(connection, case.send.method)
        except (http.client.HTTPException, ConnectionError):
            return Outcome(0)


def _as_a_stream(client: Client, case: Case, site: Deployment) -> Outcome:
    site.backend.go_on.clear()
    with client.connect() as connection:
        connection.send(_rendered(case.send))
        early = "first" if FIRST_EVENT in _glimpse(connection.socket, FIRST_EVENT, STREAM_SECONDS) else ""
        site.backend.go_on.set()
        return replace(_received(connection, case.send.method), early=early)


def _with_an_expectation(client: Client, case: Case, site: Deployment) -> Outcome:
    """Sends the body once a 100 came, or nothing for a while (RFC 9110 10.1.1), and not after a final answer."""
    with client.connect() as connection:
        connection.send(_rendered(case.send).removesuffix(case.send.body))
        head = _glimpse(connection.socket, END_OF_HEAD, EXPECT_SECONDS)
        asked = head.startswith(b"HTTP/1.1 100")
        if asked:
            connection.socket.recv(head.index(END_OF_HEAD) + len(END_OF_HEAD))
        if asked or not head:
            connection.send(case.send.body)
        early = "100" if asked else "" if head else "silence"
        return replace(_received(connection, case.send.method), early=early)


def _glimpse(sock: socket.socket, mark: bytes, seconds: float) -> bytes:
    """What has arrived, and stays to be read: once `mark` is in it, or when the connection or the time ends."""
    deadline = time.monotonic() + seconds
    arrived = b""
    while mark not in arrived and time.monotonic() < deadline:
        time.sleep(0.005)
        if select.select([sock], [], [], 0)[0] and not (arrived := sock.recv(65536, socket.MSG_PEEK)):
            break
    return arrived


def _as_a_websocket(client: Client, case: Case, site: Deployment) -> Outcome:
    opening = (
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", base64.b64encode(os.urandom(16)).decode()),
    )
    with client.connect() as connection:
        connection.send(_rendered(replace(case.send, headers=(*case.send.headers, *opening))))
        with connection.open_response() as response:
            if response.status != 101:
                return _outcome(response, response.read())
            # RFC 6455 5.2: a text frame, masked by zeros, and one back without a mask.
            connection.send(bytes((0x81, 0x80 | len(HELLO), 0, 0, 0, 0)) + HELLO)
            # http.client takes a 101 for an answer without a body; what follows is behind it all the same.
            _, length = connection.socket.recv(2, socket.MSG_WAITALL)
            return _outcome(response, connection.socket.recv(length, socket.MSG_WAITALL))


def _as_a_crowd(client: Client, case: Case, site: Deployment) -> Outcome:
    """The same request with forty passwords, all on their way before the first is judged."""
    with ExitStack() as stack:
        connections = [stack.enter_context(client.connect()) for _ in range(CROWD)]
        for number, connection in enumerate(connections):
            guess = base64.b64encode(f"slow:guess-{number}".encode()).decode()
            connection.send(_rendered(replace(case.send, headers=[("Authorization", f"Basic {guess}")])))
        return max((_received(connection, "GET") for connection in connections), key=lambda each: each.status)


def _by_http2(client: Client, case: Case, site: Deployment) -> Outcome:
    """By curl, the only client here that speaks HTTP/2."""
    request, tls = case.send, case.by is By.H2
    scheme, port, how = (
        ("https", site.gateway.other_port, "--http2") if tls else ("http", client.port, "--http2-prior-knowledge")
    )
    command = [
        *(find("curl"), "--silent", "--include", "--insecure", "--path-as-is", how, "--max-time", "15"),
        *("--noproxy", "*", "--interface", client.source, "--connect-to", f"::127.0.0.1:{port}"),
        *("--request", request.method, "--header", "User-Agent:", "--header", "Accept:"),
    ]
    for name, value in request.headers:
        command += ["--header", f"{name}: {value}"]
    if request.body:
        command += ["--data-binary", "@-"]
    done = subprocess.run(
        [*command, f"{scheme}://{request.host}{request.target}"],
        input=request.body,
        capture_output=True,
        timeout=30,
        check=False,
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    protocol, _, status = first.partition(" ")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return Outcome(int(status.split()[0]) if status else 0, protocol, headers, body)


_WAYS_TO_SEND: dict[By, Callable[[Client, Case, Deployment], Outcome]] = {
    By.HTTP1: _plainly,
    By.H2C: _by_http2,
    By.H2: _by_http2,
    By.STREAM: _as_a_stream,
    By.EXPECT: _with_an_expectation,
    By.WEBSOCKET: _as_a_websocket,
    By.CROWD: _as_a_crowd,
}
