"""What is fuzzed: each target takes any bytes, and says by an AssertionError which law they broke.

`tests/fuzz/test_fuzz.py` tries each for a moment in every run of the suite, `python -m tests.fuzz` for as long as one
likes. Bytes that broke something become a seed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

from forwardauth.authn.basic import Basic
from forwardauth.config.mistakes import ConfigurationError
from forwardauth.config.snapshot import Snapshot
from forwardauth.core.client_ip import ClientReader, parse_networks
from forwardauth.core.credentials import (
    FOREIGN,
    BasicSource,
    BearerSource,
    CookieSource,
    HeaderSource,
    basic_pair,
    without_cookies,
)
from forwardauth.core.model import RequestView, Subrequest
from forwardauth.core.reply import Reply
from forwardauth.core.routes import AmbiguousPath, normalise_path, parse_host
from forwardauth.gateways import GATEWAYS
from tests.attacks.answers import Answer, answers
from tests.attacks.gate import (
    CHAT,
    DIALECTS,
    PATIENT,
    TOKEN,
    Asking,
    Gate,
    every_identity,
    own_headers,
    written,
)
from tests.building import configuration
from tests.fuzz import seeds
from tests.server.shaping import same, taught
from tests.server.transport import Transport, connected


@dataclass(frozen=True)
class Target:
    """One thing to fuzz, bytes to begin with, and words that mean something there."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[bytes]


# The lane: bytes of a gateway, whole and in parts.


class Echo:
    """Answers each request with a digest of what it was, so that no answer can stand for another."""

    def __init__(self) -> None:
        self.asked: list[Subrequest] = []

    def answer(self, subrequest: Subrequest) -> Reply:
        self.asked.append(subrequest)
        return Reply(200, (), digest(subrequest), "text/plain")


def digest(asked: Subrequest) -> bytes:
    return sha256(repr((asked.method, asked.target, asked.headers)).encode()).hexdigest().encode()


def heard(packets: Sequence[bytes]) -> tuple[list[Subrequest], list[Answer], Transport]:
    """What was asked, and what came back, when the bytes arrive in these packets."""
    echo = Echo()
    connection, transport = connected(echo)
    for packet in packets:
        if not transport.closed:
            connection.data_received(packet)
    return echo.asked, answers(transport.written, [asked.method for asked in echo.asked]), transport


def announces_body(asked: Subrequest) -> bool:
    """Whether a body follows (RFC 9112 6.3)."""
    lengths = [value.strip() for name, value in asked.headers if name.lower() == b"content-length"]
    return any(int(length) for length in lengths) or any(
        name.lower() == b"transfer-encoding" for name, _ in asked.headers
    )


def lane(data: bytes) -> None:
    """No exception; HTTP alone; an answer for each request; nothing behind a body; the same in any packets."""
    size = data[0] % 40 + 2 if data else 2
    stream = data[1:]
    asked, answered, transport = heard([stream])
    # What follows a head that announces a body may have been there to be seen, as something broken, or not.
    certain = len(answered) - (bool(asked) and announces_body(asked[-1]) and len(asked) == len(answered))
    for packets in (_parts(stream, 1), _parts(stream, size)):
        others, said, end = heard(packets)
        assert [digest(each) for each in others] == [digest(each) for each in asked]
        assert said[:certain] == answered[:certain]
        assert (len(said), end.closed) == (len(answered), transport.closed)
    assert len(answered) <= len(asked) + 1, "more answers than requests"
    good = [answer for answer in answered if answer.status == 200]
    assert answered[: len(good)] == good, "an answer behind an error"
    assert [answer.body for answer in good if answer.body] == [
        digest(each) for each in asked[: len(good)] if each.method != b"HEAD"
    ]
    assert all(answer.status in (200, 400, 431) for answer in answered)
    for number, each in enumerate(asked):
        if announces_body(each):
            assert number == len(asked) - 1, "something behind a body was a request"
            assert transport.closed
        assert not re.search(rb"[\x00-\x20\x7f-\xff]", each.target)
        for name, value in each.headers:
            assert re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
            assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value)


def _parts(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


# The same lane, once it knows the shape of what it was asked.

TAUGHT = taught()


def shape(data: bytes) -> None:
    """A lane that knows a message's shape does with any bytes what a lane does that knows none."""
    same(data, *TAUGHT)


# The verdict: headers of a client, and values of the gateway, in every dialect.

GATE = Gate(PATIENT)


def verdict(data: bytes) -> None:
    """Whatever stands in the headers: without the token only what is public is allowed, and never as somebody."""
    if len(data) < 3:
        return
    dialect = DIALECTS[data[0] % len(DIALECTS)]
    lines = [line.strip(b"\r") for line in data[2:].split(b"\n")]
    value = lines[0].decode("latin-1")
    own = own_headers(dialect, CHAT)
    # One of the gateway's own values, or the target of Envoy's first line, is the attacker's.
    names = [*own, ""]
    name = names[data[1] % len(names)]
    asking = CHAT
    if name:
        own[name] = value
    elif dialect == "envoy":
        asking = Asking(url=f"https://api.example.com{value}")
    target = f"GET {GATEWAYS[dialect].path}{asking.parts[2] if dialect == 'envoy' else ''} HTTP/1.1"
    message = written(target, [(key, text) for key, text in own.items()])[:-2]
    message += b"".join(line + b"\r\n" for line in lines[1:] if line) + b"\r\n"
    wire = GATE.connect()
    wire.send(message)
    wire.connection.connection_lost(None)
    GATE.recording.asked.clear()
    for answer in wire.answers:
        assert answer.meant in (200, 400, 401, 403, 404, 431), answer
        assert TOKEN not in str(answer)
        if answer.status == 200 and answer.headers[1][0] == "cache-control" and b"status" not in answer.body:
            identity = every_identity(answer)
            if TOKEN.encode() not in data:
                assert set(identity.values()) == {""}, "somebody, without the token"
                assert public(dialect, name, value), (dialect, name, value)


def public(dialect: str, name: str, value: str) -> bool:
    """Whether a value of the gateway's asks for something public, in words of its own."""
    raw = value.strip(" \t").encode("latin-1")
    url = {"X-Original-URL": raw, "X-Forwarded-Host": b"https://" + raw + b"/", "Host": b"https://" + raw + b"/"}
    found = re.fullmatch(rb"(?:https?|wss?)://([^/]+)(/.*)", url.get(name, b"https://api.example.com" + raw), re.DOTALL)
    if found is None:
        return False
    path = re.sub(rb"//+", b"/", unquote_to_bytes(found[2].partition(b"?")[0]))
    return path == b"/health" or re.fullmatch(rb"open\.example\.com\.?(:\d+)?", found[1].lower()) is not None


# Readers: each takes one value of a request.


def path(data: bytes) -> None:
    """A path is refused, or has one normal form without dots, doubles or anything that decodes to them."""
    data = data.partition(b"?")[0]
    try:
        normal = normalise_path(data)
    except AmbiguousPath:
        return
    assert re.fullmatch(r"/[!-~]*", normal)
    assert not re.search(r"[\\;#?]|//", normal), normal
    assert normalise_path(normal.encode()) == normal
    assert not {".", ".."} & set(re.split(r"/|%2F", normal))
    decoded = unquote_to_bytes(data)
    assert re.sub(rb"//+", b"/", decoded) == re.sub(rb"//+", b"/", unquote_to_bytes(normal))
    decoded.decode()
    before = b""
    while decoded != before:
        assert not {b".", b".."} & set(re.split(rb"[/\\]", decoded)), decoded
        decoded, before = unquote_to_bytes(decoded), decoded


def host(data: bytes) -> None:
    """A host is refused, or is a name or an address with a port, the same when it is read again."""
    try:
        found = parse_host(data, b"https")
    except ValueError:
        return
    assert re.fullmatch(r"[a-z0-9_.-]+|\[[0-9a-f:.]+\]", found.name), found
    assert found.port is None or 1 <= found.port <= 65535
    again = parse_host(f"{found.name}:{found.port}".encode(), b"https")
    assert again == found
    assert not re.search(rb"[@/?#,\\%\s\x00-\x20\x7f-\xff]", data)


READERS = [ClientReader(depth, parse_networks(["198.51.100.0/24"])) for depth in (1, 2, 3)]


def address(data: bytes) -> None:
    """A client is nobody, or the address at the depth, and what stands before it changes nothing."""
    for depth, reader in enumerate(READERS, 1):
        client = reader.read(data)
        entries = data.split(b",")
        if client is None:
            continue
        assert len(entries) >= depth
        entry = entries[-depth].strip(b" \t").decode("ascii")
        true = ip_address(entry)
        true = getattr(true, "ipv4_mapped", None) or true
        assert str(true) == client.address
        assert client.key == (true.packed if true.version == 4 else true.packed[:8])
        assert client.further_hops is (len(entries) > depth)
        again = reader.read(b"junk," + b",".join(entries[-depth:]))
        assert again is not None
        assert (again.address, again.key, again.keys, again.exempt) == (
            client.address,
            client.key,
            client.keys,
            client.exempt,
        )


def credentials(data: bytes) -> None:
    """Reading raises nothing, and finds what stands there and nothing else."""
    sources = (BearerSource(), BasicSource(), HeaderSource(b"x-api-key", "X-API-Key"), CookieSource(b"key"))
    for source in sources:
        found = source.find(RequestView(fields={source.header: data}))
        if found is not None and found is not FOREIGN:
            assert found
            assert found in data or isinstance(source, CookieSource)
            assert found == found.strip(b" \t") or isinstance(source, CookieSource)
    kept = without_cookies(data, frozenset({b"key"}))
    assert CookieSource(b"key").find(RequestView(fields={b"cookie": kept})) is None
    assert without_cookies(kept, frozenset({b"key"})) == kept
    pair = basic_pair(data)
    if pair is not None:
        assert ":" not in pair[0]
        assert not any(ord(character) < 0x20 for part in pair for character in part)
    for dialect in GATEWAYS.values():
        view = RequestView(fields=dict.fromkeys((*dialect.headers, b"host"), data))
        dialect.read(Subrequest(b"GET", dialect.path.encode() + data, [], None), view)
        if view.unreadable is None:
            assert view.method
            assert view.host
            assert view.forwarded_for
            assert view.target or dialect.name != "nginx"


# Files of operators.


def told(failure: ConfigurationError) -> None:
    """There is a mistake, and each says something."""
    assert failure.mistakes
    assert all(mistake.text for mistake in failure.mistakes)


def settings(data: bytes) -> None:
    """A configuration is a snapshot, or mistakes that are told in one line each."""
    text = data.decode("utf-8", "replace")
    if "file:" in text or "/" in text.partition("htpasswd")[2][:20]:
        return  # no file but its own
    try:
        found: Snapshot = configuration(text, {"SECRET": "right-token"}).snapshot
    except ConfigurationError as failure:
        told(failure)
        return
    assert found.routes.routes
    for route in found.routes.routes:
        assert route.requirement is not None or not route.encoded_slashes


USERS = "authenticators: {staff: {basic: {htpasswd: users}}}\nroutes: [{path: /*, require: staff}]"


def htpasswd(data: bytes) -> None:
    """A file of users is users with hashes, one line each, or mistakes."""
    text = data.decode("utf-8", "replace")
    try:
        staff = configuration(USERS, files={"users": text}).snapshot.authenticators["staff"]
    except ConfigurationError as failure:
        told(failure)
        return
    assert isinstance(staff, Basic)
    assert staff._users
    for user, stored in staff._users.items():
        assert user
        assert f"{user}:{stored}" in text
        assert stored.startswith(("$2", "$apr1$", "{SHA}"))


TARGETS: dict[str, Target] = {
    "lane": Target(lane, seeds.STREAMS, seeds.HTTP),
    "shape": Target(shape, seeds.SHAPED, seeds.HTTP),
    "verdict": Target(verdict, seeds.HEADERS, seeds.NAMES),
    "path": Target(path, seeds.PATHS, seeds.ESCAPES),
    "host": Target(host, seeds.HOSTS, seeds.HOST_MARKS),
    "address": Target(address, seeds.ADDRESSES, seeds.ADDRESS_WORDS),
    "credentials": Target(credentials, seeds.CREDENTIALS, seeds.CREDENTIAL_WORDS),
    "configuration": Target(settings, seeds.CONFIGURATIONS, seeds.YAML),
    "htpasswd": Target(htpasswd, seeds.USERS, seeds.HASHES),
}
"""What is fuzzed, by the name in the command."""
