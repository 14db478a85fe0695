"""The service as a gateway meets it: bytes into the real decision lane, strict HTTP out of it, and no socket.

A request of a client is written as each gateway would write its subrequest, so an attack is told once and tried on
every dialect. What a gateway lets through of a client's own headers stands behind the gateway's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from forwardauth.config.materials import Records
from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.gateways import GATEWAYS
from forwardauth.server.lane import Connection, Lane
from forwardauth.service import Service
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from tests.attacks.answers import Answer, answers
from tests.building import CLIENT, snapshot
from tests.server.transport import Transport, connect

Header = tuple[str, str]

DIALECTS = list(GATEWAYS)
URL = "https://api.example.com/v1/chat"
TOKEN = "right-token"
IDENTITY = ("X-Auth-User", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Tenant", "X-Auth-Key", "X-Auth-Method")

CONFIGURATION = f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: open, host: open.example.com, path: /*, public: true}}
  - {{name: health, path: /health, public: true}}
  - {{name: all, path: /*, require: ci}}
"""
PATIENT = f"{CONFIGURATION}lockout: {{max_failed_attempts: 0}}\n"
"""The same without a lockout, for many attempts of one client."""


def token(value: str = TOKEN) -> Header:
    """The header that opens the closed routes of CONFIGURATION."""
    return "X-API-Token", value


@dataclass(frozen=True)
class Asking:
    """What an end client asks for, as the gateway took it apart."""

    method: str = "GET"
    url: str = URL
    client: str = CLIENT

    @property
    def parts(self) -> tuple[str, str, str]:
        """Scheme, host and target, split by position: nothing is read into them."""
        scheme, _, rest = self.url.partition("://")
        host, slash, target = rest.partition("/")
        return scheme, host, slash + target


CHAT = Asking()
"""A request that needs the token."""


def own_headers(dialect: str, asking: Asking) -> dict[str, str]:
    """The headers that the gateway of a dialect sets itself, by name."""
    scheme, host, target = asking.parts
    if dialect == "nginx":
        return {
            "Host": "forwardauth",
            "X-Original-URL": asking.url,
            "X-Original-Method": asking.method,
            "X-Forwarded-For": asking.client,
        }
    if dialect == "envoy":
        return {"Host": host, "X-Forwarded-Proto": scheme, "X-Forwarded-For": asking.client, "Content-Length": "0"}
    return {
        "Host": "forwardauth:9000",
        "X-Forwarded-Method": asking.method,
        "X-Forwarded-Proto": scheme,
        "X-Forwarded-Host": host,
        "X-Forwarded-Uri": target,
        "X-Forwarded-For": asking.client,
    }


def written(line: str, headers: Iterable[Header]) -> bytes:
    """A request without a body, byte by byte as given; what is no Latin-1 is sent as UTF-8."""
    lines = [line, *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"


def subrequest(dialect: str, asking: Asking, *headers: Header, query: str = "", without: str = "") -> bytes:
    """What the gateway of a dialect sends; `query` is appended to its endpoint, `without` names a header left out."""
    own = own_headers(dialect, asking)
    own.pop(without, None)
    endpoint = GATEWAYS[dialect].path
    line = (
        f"{asking.method} {endpoint}{asking.parts[2]} HTTP/1.1"
        if dialect == "envoy"
        else f"GET {endpoint}{query} HTTP/1.1"
    )
    return written(line, [*own.items(), *headers])


@dataclass
class Wire:
    """One connection of a gateway to the service."""

    connection: Connection
    transport: Transport
    methods: list[bytes] = field(default_factory=list)

    def send(self, message: bytes, at_once: int = 0) -> None:
        """Bytes, whole or in packets of `at_once`; a connection that ended takes no more."""
        size = at_once or len(message) or 1
        for start in range(0, len(message), size):
            if not self.transport.closed:
                self.connection.data_received(message[start : start + size])

    @property
    def answers(self) -> list[Answer]:
        """Everything that came back so far."""
        return answers(self.transport.written, self.methods)


class Recording:
    """A service that remembers what it was asked."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.asked: list[Subrequest] = []

    def answer(self, subrequest: Subrequest) -> Reply:
        self.asked.append(subrequest)
        reply = self.service.answer(subrequest)
        assert isinstance(reply, Reply), "these attacks need no password"
        return reply


class Gate:
    """The service of one configuration, and connections to it."""

    def __init__(self, text: str = CONFIGURATION, audit: str = "off", records: Records | None = None) -> None:
        self.audit = AuditLog(audit)
        self.metrics = Metrics("test")
        self.service = Service(snapshot(text, records=records), {}, self.audit, self.metrics)
        self.recording = Recording(self.service)
        self.lane = Lane(self.recording, 10_000)

    def connect(self, peer: str | None = "127.0.0.1") -> Wire:
        """A new connection from this neighbour; None stands for a unix socket."""
        return Wire(*connect(self.lane, "" if peer is None else (peer, 40_000)))

    def send(self, message: bytes, peer: str | None = "127.0.0.1") -> Answer:
        """One message on a connection of its own, and the one answer to it."""
        wire = self.connect(peer)
        wire.methods.append(message.partition(b" ")[0])
        wire.send(message)
        wire.connection.connection_lost(None)
        (answer,) = wire.answers
        return answer

    def ask(self, dialect: str, asking: Asking = CHAT, *headers: Header) -> Answer:
        """The answer to a client's request behind the gateway of a dialect."""
        return self.send(subrequest(dialect, asking, *headers))


def every_identity(answer: Answer) -> dict[str, str]:
    """The identity headers of a 200, each of which has to stand there once."""
    assert [len(answer.all(name)) for name in IDENTITY] == [1] * len(IDENTITY), answer.headers
    return {name: answer.one(name) for name in IDENTITY}
