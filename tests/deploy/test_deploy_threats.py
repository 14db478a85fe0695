"""Attacks that pass through a gateway, on every gateway: what reaches the backend is what the service allowed.

The names of the gateways come from the registry of the rig, so a new one is attacked by being registered.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from tests.attacks.test_becoming_somebody import MARKS
from tests.attacks.test_speaking_as_the_gateway import ELSEWHERE
from tests.attacks.test_spelling import DOTS, ODD
from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import TIMEOUT, Client, Headers, connection_is_closed, render
from tests.deploy.rig.deployment import Deploy, Deployment, Sources
from tests.deploy.rig.gateways import GATEWAYS, PLAIN, Gateway
from tests.deploy.rig.gateways.nginx import Nginx
from tests.deploy.rig.gateways.traefik import TraefikFile
from tests.deploy.rig.programs import wait_until
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import TOKEN, bearer, token

MARK = "mallory"
IDENTITY = ("X-Auth-User", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Tenant", "X-Auth-Key", "X-Auth-Method")
WORKERS = 6

SETUP = Setup(
    config=f"""
authenticators:
  ci:
    token:
      from: [bearer, {{header: X-API-Token}}, {{header: X-API-Key}}, {{cookie: key}}]
      tokens:
        - {{name: ci, value: {TOKEN}}}
        - {{name: reader, value: reading-token, scopes: [{{path: /v1/*, methods: [GET]}}]}}
{"".join(f"        - {{name: worker-{number}, value: worker-token-{number}}}{chr(10)}" for number in range(WORKERS))}
  office: {{network: {{allow: [127.1.0.0/16]}}}}
  elsewhere: {{network: {{allow: [127.9.0.0/16, 10.0.0.0/8]}}}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: office, path: /office/*, require: office}}
  - {{name: elsewhere, path: /elsewhere/*, require: elsewhere}}
  - {{name: api, path: /*, require: ci}}
"""
)


@pytest.fixture(params=PLAIN)
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(gateway: str, deploy: Deploy) -> Deployment:
    return deploy(gateway, SETUP)


def targets(backend: Backend) -> set[str]:
    return {seen.target for seen in backend.seen}


def drained(client: Client, raw: bytes) -> bytes:
    """Everything that comes back until the gateway ends the connection or says no more."""
    received = b""
    with client.connect() as connection:
        connection.send(raw)
        connection.socket.settimeout(1)
        try:
            while part := connection.socket.recv(65536):
                received += part
                connection.socket.settimeout(0.1)
        except (TimeoutError, ConnectionError):
            pass
    return received


class TestHeaders:
    """One header line that two programs read differently: names, line ends, white space, doubles."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("X-Auth-User ", MARK),
            ("X-Auth-User\t", MARK),
            (" X-Auth-User", MARK),
            ("\tX-Auth-User", MARK),
            ("X-Auth-User\0", MARK),
            ("X-Auth-User\x0b", MARK),
            ("X-Auth-User:", MARK),
            ("x-AUTH-user", MARK),
            ("X-Auth-User", f"\r\n {MARK}"),
            ("X-Auth-User", f"\r\n\t{MARK}"),
            ("X-Pad", f"a\nX-Auth-User: {MARK}"),
            ("X-Pad", f"a\rX-Auth-User: {MARK}"),
            ("X-Pad", f"a\r\r\nX-Auth-User: {MARK}"),
            ("X-Pad", f"a\0\r\nX-Auth-User: {MARK}"),
            ("X-Pad", f"a\x0b\r\nX-Auth-User: {MARK}"),
            ("X-Pad", f"a\u2028X-Auth-User: {MARK}"),
            ("X-Pad", f"a\u010d\u010aX-Auth-User: {MARK}"),
            ("X-Auth-User, X-Auth-User", MARK),
            ("\u212a-Auth-User", MARK),
            ("X\u2010Auth\u2010User", MARK),
            *((f"X{mark}Auth{mark}User", MARK) for mark in MARKS if mark != "-"),
        ],
        ids=ascii,
    )
    def test_no_spelling_of_an_identity_header_arrives(
        self, client: Client, backend: Backend, name: str, value: str
    ) -> None:
        """Attack: call oneself by a header that the gateway does not strip, and the backend reads (THREATS 4, 16).

        White space before the colon, folded lines, line feeds alone, control bytes, every mark that a name may have.
        """
        for path in ("/v1/models", "/health"):
            client.get(path, token(), (name, value))
        for seen in backend.seen:
            for arrived, content in seen.headers:
                if re.sub("[^a-z]", "", arrived.lower()) == "xauthuser":
                    assert MARK not in content

    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("X-API-Token", TOKEN, "guess"),
            ("X-API-Key", TOKEN, "guess"),
            ("Authorization", f"Bearer {TOKEN}", "Bearer guess"),
            ("Authorization", f"Bearer {TOKEN}", "Basic eDp5"),
            ("Cookie", f"key={TOKEN}", "key=guess"),
        ],
        ids=ascii,
    )
    def test_of_two_credentials_in_one_header_none_is_chosen(
        self, client: Client, backend: Backend, name: str, good: str, bad: str
    ) -> None:
        """Attack: two lines, of which gateway, service and backend take different ones (THREATS 3)."""
        for first, second in ((good, bad), (bad, good)):
            assert client.get("/v1/models", (name, first), (name.lower(), second)).status in (400, 401)
            assert client.get("/v1/models", (name, f"{first}, {second}")).status in (400, 401)
        assert backend.seen == []

    def test_what_stands_behind_very_many_headers_counts(self, client: Client, backend: Backend) -> None:
        """Attack: hide a second key, or a name that looks like ours, behind more headers than somebody reads.

        (THREATS 3, 4, 32)
        """
        for count in (20, 60, 85, 95, 110, 180):
            many = [(f"X-Filler-{number}", "x") for number in range(count)]
            client.get("/v1/models", token(), *many, token("guess"), ("X-Auth-User", MARK))
            client.get("/v1/models", *many, ("X_Auth_User", MARK))
            client.get("/v1/models", *many, ("X-Auth-User", MARK), ("X-Forwarded-Uri", "/health"))
            assert backend.seen == []
            client.get("/v1/models", token(), *many, ("X_Auth_User", MARK))
            assert MARK not in str(backend.seen)
            backend.seen.clear()

    @pytest.mark.parametrize("size", [100, 3_000, 70_000])
    def test_a_very_long_name_hides_nothing(self, client: Client, backend: Backend, size: int) -> None:
        """Attack: a name beyond what somebody keeps (THREATS 4, 32)."""
        for name in ("X-Auth-User" + "-" * size, "X" * size, "X-API-Token" + "_" * size):
            client.get("/v1/models", (name, MARK))
        assert backend.seen == []

    @pytest.mark.parametrize("header", ELSEWHERE, ids=str)
    def test_a_header_of_another_gateway_opens_nothing(
        self, client: Client, backend: Backend, header: tuple[str, str]
    ) -> None:
        """Attack: say by another gateway's header that a public path is asked for (THREATS 2, 10)."""
        name, value = header
        for headers in ([header], [header, header], [(name.replace("-", "_"), value)], [(f"{name} ", value)]):
            assert client.get("/v1/models", *headers).status in (400, 401)
        assert backend.seen == []

    @pytest.mark.parametrize("hop", ["", "close, ", "keep-alive, "])
    def test_what_a_client_lists_in_connection_does_not_go_missing(
        self, client: Client, backend: Backend, hop: str
    ) -> None:
        """Attack: name our headers in Connection, which a proxy drops before it goes on (THREATS 46)."""
        for names in ("X-Auth-Key, X-Auth-Method", "X-API-Token, X-Forwarded-For, X-Forwarded-Uri, X-Original-URL"):
            client.get("/v1/models", token(), ("Connection", hop + names))
            client.get("/v1/models", ("Connection", hop + names))
        for seen in backend.seen:
            assert (seen.one("X-Auth-Key"), seen.one("X-Auth-Method"), seen.one("X-API-Token")) == ("ci", "ci", "")


class TestBodies:
    """Requests inside requests, on a connection that goes on (THREATS 41)."""

    def test_a_trailer_is_no_header(self, client: Client, backend: Backend) -> None:
        """Attack: headers behind the body, which somebody adds to those before it (THREATS 16, 41)."""
        body = (
            f"1\r\nx\r\n0\r\nX-Auth-User: {MARK}\r\nX-API-Token: {TOKEN}\r\nX-Forwarded-Uri: /health\r\n\r\n".encode()
        )
        chunked = [("Transfer-Encoding", "chunked"), ("Trailer", "X-Auth-User, X-API-Token")]
        client.request("POST", "/v1/echo", chunked, body)
        assert backend.seen == []
        client.request("POST", "/v1/echo", [*chunked, token()], body)
        assert all(seen.one(name) in ("", "ci") for seen in backend.seen for name in IDENTITY)

    @pytest.mark.parametrize(
        ("upgrade", "version"),
        [("websocket", "13"), ("websocket", "999"), ("WebSocket, h2c", "13"), ("h2c", ""), ("raw", "")],
    )
    @pytest.mark.parametrize("framing", ["nothing", "length", "chunks"])
    def test_a_tunnel_that_nobody_opened_carries_no_request(
        self, client: Client, backend: Backend, upgrade: str, version: str, framing: str
    ) -> None:
        """Attack: offer an upgrade that the backend refuses, and send requests into what is taken for a tunnel.

        On a public path, with a body announced and without (h2c and WebSocket smuggling; THREATS 37, 41).
        """
        hidden = render("GET", "/v1/closed")
        headers = [
            ("Connection", "Upgrade, HTTP2-Settings" if "h2c" in upgrade else "Upgrade"),
            ("Upgrade", upgrade),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
            ("Sec-WebSocket-Version", version),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        body = hidden
        if framing == "length":
            headers.append(("Content-Length", str(len(hidden))))
        if framing == "chunks":
            headers.append(("Transfer-Encoding", "chunked"))
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
        drained(client, render("GET" if framing == "nothing" else "POST", "/health", headers) + body)
        assert targets(backend) <= {"/health"}
        assert not [seen for seen in backend.seen if "h2c" in seen.one("Upgrade").lower()]
        # The connections to the service are still in step.
        assert [client.get(path).status for path in ("/v1/closed", "/health")] == [401, 200]

    @pytest.mark.parametrize(
        "framing",
        [
            [("Content-Length", "5"), ("Content-Length ", "0")],
            [("Content-Length", "0\r\n"), ("Content-Length", "5")],
            [("Content-Length", "00"), ("Transfer-Encoding", "chunked")],
            [("Transfer-Encoding", "\tchunked")],
            [("Transfer-Encoding", "chunked\r\n "), ("Content-Length", "5")],
            [("Transfer-Encoding", "CHUNKED"), ("Content-Length", "5")],
            [("Transfer-Encoding", "identity, chunked"), ("Content-Length", "5")],
            [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
            [("Transfer_Encoding", "chunked")],
            [("Transfer-Encoding", "\x0bchunked")],
            [("Transfer-Encoding\n", "chunked")],
            [("X-Pad", "a\nTransfer-Encoding: chunked"), ("Content-Length", "5")],
            [("Expect", "100-continue"), ("Content-Length", "5")],
            [("Expect", "100-continuation"), ("Content-Length", "5")],
            [("Content-Length", "5;a=b")],
            [("Content-Length", "0x5")],
        ],
        ids=ascii,
    )
    def test_a_request_behind_an_odd_framing_is_asked_about(
        self, client: Client, backend: Backend, framing: Headers
    ) -> None:
        """Attack: a body that somebody takes for the next request (CL.TE, TE.CL, TE.TE; THREATS 41)."""
        hidden = b"0\r\n\r\n" + render("GET", "/v1/closed")
        drained(client, render("POST", "/health", framing, hidden))
        assert targets(backend) <= {"/health"}
        assert client.get("/v1/closed").status == 401

    def test_pipelined_requests_are_each_asked_about(self, client: Client, backend: Backend) -> None:
        """Attack: have the verdict on a public path stand for the request behind it (THREATS 41)."""
        many = [
            render("GET", path, headers) for path, headers in (("/health", []), ("/v1/closed", [])) for _ in (1, 2, 3)
        ]
        drained(client, b"".join(many))
        drained(client, b"".join(reversed(many)))
        drained(client, b"".join(many[::3] * 3))
        assert targets(backend) <= {"/health"}


class TestVerdicts:
    def test_no_verdict_is_somebody_elses(self, site: Deployment, backend: Backend) -> None:
        """Attack: ask at the same time as others, and get the answer to their question (THREATS 23, 41).

        Every worker mixes its own key with wrong ones and none, on a connection of its own that is kept.
        """
        wrong: list[object] = []

        def work(number: int) -> None:
            mine = f"worker-token-{number}"
            cycle = [([token(mine)], 200), ([], 401), ([token(f"{mine}x")], 401), ([bearer(mine)], 200)]
            with site.client().connect() as connection:
                for turn in range(12):
                    headers, expected = cycle[(turn + number) % len(cycle)]
                    # Four wrong ones are no lockout yet; after that everything but known keys is refused.
                    answer = connection.request("POST", "/v1/echo", [*headers, ("X-Mark", f"worker-{number}")], b"body")
                    if answer.status != expected and (expected, answer.status) != (401, 429):
                        wrong.append((number, turn, answer.status, expected))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert len(backend.seen) == WORKERS * 6
        assert [seen.one("X-Auth-Key") for seen in backend.seen] == [seen.one("X-Mark") for seen in backend.seen]

    @pytest.fixture
    def own_site(
        self, gateway: str, running_backend: Backend, sources: Sources, tmp_path: Path
    ) -> Iterator[Deployment]:
        deployment = Deployment.start(GATEWAYS[gateway], SETUP, tmp_path / "own", running_backend, sources)
        yield deployment
        deployment.stop()

    def test_a_key_that_was_taken_away_ends_on_open_connections(self, own_site: Deployment, backend: Backend) -> None:
        """Attack: go on with a revoked key on the connection on which it was allowed (THREATS 23, 31)."""
        with own_site.client().connect() as connection:
            for _ in range(5):
                assert connection.request("GET", "/v1/models", [token()]).status == 200
            config = own_site.service.folder / "forwardauth.yml"
            config.write_text(SETUP.config.replace(f"value: {TOKEN}}}", "value: another-token}"))
            wait_until(
                lambda: connection.request("GET", "/v1/models", [token()]).status != 200, "the key is refused", 5
            )
            backend.seen.clear()
            assert connection.request("GET", "/v1/models", [token()]).status in (401, 429)
            assert connection.request("GET", "/v1/models", [token("reading-token")]).status in (200, 429)
            assert all(seen.one("X-Auth-Key") == "reader" for seen in backend.seen)


class TestMethods:
    @pytest.mark.parametrize(
        "method", ["POST", "PUT", "DELETE", "PATCH", "post", "Get", "GET\tX", "PROPFIND", "OPTIONS"]
    )
    def test_a_key_that_may_read_does_nothing_else(self, client: Client, backend: Backend, method: str) -> None:
        """Attack: write with a reader's key, by a method in another spelling or of another kind (THREATS 8)."""
        reader = token("reading-token")
        assert client.get("/v1/models", reader).status == 200
        assert client.request(method, "/v1/models", [reader]).status in (400, 403, 405, 501)
        assert [seen.method for seen in backend.seen] == ["GET"]

    @pytest.mark.parametrize(
        "name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override"]
    )
    def test_an_override_reaches_no_backend_where_methods_decide(
        self, client: Client, backend: Backend, name: str
    ) -> None:
        """Attack: GET for the rule, and DELETE for the framework behind (THREATS 8)."""
        client.get("/v1/models", token("reading-token"), (name, "DELETE"))
        assert not [seen for seen in backend.seen if "DELETE" in str(seen.headers)]

    @pytest.mark.parametrize(
        "headers",
        [
            [],
            [("Origin", "https://evil.example")],
            [("Access-Control-Request-Method", "GET")],
            [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "GET")],
            [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "OPTIONS")],
        ],
        ids=str,
    )
    def test_a_preflight_opens_no_route_that_names_none(
        self, client: Client, backend: Backend, headers: Headers
    ) -> None:
        """Attack: OPTIONS as a request that needs no credential (THREATS 9)."""
        assert client.request("OPTIONS", "/v1/models", headers).status == 401
        assert client.request("OPTIONS", "/v1/models", [*headers, token("reading-token")]).status == 403
        assert backend.seen == []


class TestPlaces:
    @pytest.mark.parametrize(
        ("target", "headers"),
        [
            (f"/v1/models?api_key={TOKEN}", []),
            (f"/v1/models?access_token={TOKEN}&X-API-Token={TOKEN}&key={TOKEN}", []),
            (f"/v1/models?allow=1&scope=admin&next=/health&token={TOKEN}", []),
            (f"/v1/{TOKEN}", []),
            ("/v1/models", [("Referer", f"https://llm.example.com/?X-API-Token={TOKEN}")]),
            ("/v1/models", [("Proxy-Authorization", f"Bearer {TOKEN}")]),
            ("/v1/models", [("Sec-WebSocket-Protocol", f"openai-insecure-api-key.{TOKEN}")]),
            ("/v1/models", [("X-Key", TOKEN)]),
            ("/v1/models", [("Cookie", f"token={TOKEN}; KEY={TOKEN}; xkey={TOKEN}")]),
        ],
        ids=range(9),
    )
    def test_a_key_in_an_address_or_elsewhere_opens_nothing(
        self, client: Client, backend: Backend, target: str, headers: Headers
    ) -> None:
        """Attack: a key in a query, a path, Referer, or a header that nobody configured (THREATS 5, 11, 38)."""
        assert client.get(target, *headers).code == "missing_authorization"
        assert backend.seen == []


class TestAddresses:
    @pytest.mark.parametrize(
        "headers",
        [
            [("X-Forwarded-For", "127.9.0.1")],
            [("X-Forwarded-For", "127.9.0.1"), ("X-Forwarded-For", "127.9.0.1")],
            [("X-Forwarded-For", "10.0.0.1, 127.9.0.1, 10.0.0.2")],
            [("X-Forwarded-For", "::ffff:10.0.0.1")],
            [("X-Forwarded-For", "10.0.0.1\r\n , 10.0.0.2")],
            [("X-Forwarded-For ", "10.0.0.1")],
            [("X_Forwarded_For", "10.0.0.1")],
            [("X-Real-IP", "10.0.0.1")],
            [("Forwarded", "for=10.0.0.1")],
            [("X-Client-IP", "10.0.0.1"), ("X-Cluster-Client-IP", "10.0.0.1")],
            [("True-Client-IP", "10.0.0.1"), ("CF-Connecting-IP", "10.0.0.1")],
            [("X-Envoy-External-Address", "10.0.0.1")],
            [("Connection", "X-Forwarded-For"), ("X-Forwarded-For", "10.0.0.1")],
        ],
        ids=str,
    )
    def test_an_invented_address_is_not_in_the_allowed_network(
        self, client: Client, backend: Backend, headers: Headers
    ) -> None:
        """Attack: claim an address that may pass, in every header that tells one (PR#3478, THREATS 12, 13, 44)."""
        assert client.get("/elsewhere/x", *headers).status in (400, 403)
        assert client.get("/elsewhere/x", *headers, token()).status in (400, 403)
        assert backend.seen == []

    @pytest.mark.parametrize("name", ["CF-Connecting-IP", "True-Client-IP", "Forwarded"])
    def test_a_tunnels_exit_is_no_neighbour(self, client: Client, backend: Backend, name: str) -> None:
        """Attack: come through a tunnel or a CDN, whose address may pass (THREATS 56)."""
        assert client.get("/office/x").status == 200
        assert client.get("/office/x", (name, "for=203.0.113.9")).code == "network_not_allowed"
        assert len(backend.seen) == 1

    def test_guesses_count_whatever_address_they_claim(self, client: Client, backend: Backend) -> None:
        """Attack: another address with every guess, in another header with each (THREATS 12, 20)."""
        names = ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP"]
        said = [client.get("/v1/models", token("guess"), (name, "203.0.113.9")).status for name in names]
        assert said == [401] * 5
        assert client.get("/v1/models", token()).code == "locked_out"
        assert backend.seen == []


class TestForeignPages:
    @pytest.mark.parametrize(
        "headers",
        [
            [("Origin", "https://evil.example")],
            [("Origin", "null")],
            [("Origin", "http://llm.example.com.evil.example")],
            [("Origin", "http://llm.example.com, https://evil.example")],
            [("Sec-Fetch-Site", "cross-site")],
        ],
        ids=str,
    )
    def test_a_foreign_page_uses_nobodys_cookie(self, client: Client, backend: Backend, headers: Headers) -> None:
        """Attack: a page makes the visitor's browser send its cookie along, in a POST or a WebSocket (THREATS 55)."""
        cookie = ("Cookie", f"key={TOKEN}")
        assert client.post("/v1/echo", cookie, *headers).code == "cross_site"
        upgrade = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        opened = drained(client, render("GET", "/v1/ws", [cookie, *headers, *upgrade]))
        assert opened.startswith(b"HTTP/1.1 403 ")
        assert client.post("/v1/echo", token(), *headers).status == 200
        assert [seen.target for seen in backend.seen] == ["/v1/echo"]


class TestSpelling:
    @pytest.mark.parametrize("dots", DOTS)
    def test_dot_segments_in_no_spelling_reach_another_path(self, client: Client, backend: Backend, dots: str) -> None:
        """Attack: `/health/../v1`, in every encoding of dots and slashes (33494, 65600, #1055; THREATS 6, 7, 43).

        A gateway may remove plain dots before it asks: then the path that is judged is the one that arrives.
        """
        for before, after in (("/", "/"), ("%2f", "/"), ("/", "%2F"), ("\\", "/"), ("/", "%5c"), ("//", "/")):
            for begin, end in (("/health", "admin"), ("/admin", "health"), ("", "health")):
                client.get(f"{begin}{before}{dots}{after}{end}")
        for seen in backend.seen:
            assert re.sub("/+", "/", unquote(seen.target.partition("?")[0])) == "/health", seen.target

    @pytest.mark.parametrize(
        "target", [*ODD, "/health/..", "/%2568ealth", "/health%c2%a0", "/HEALTH", "/health%EF%BC%8F"]
    )
    def test_no_other_spelling_of_the_public_path_is_public(
        self, client: Client, backend: Backend, target: str
    ) -> None:
        """Attack: separators, broken escapes and look-alikes in a public path (THREATS 7, 43)."""
        client.get(target)
        assert targets(backend) <= {"/health"}


PUBLIC, CLOSED = "public.example.com", "admin.example.com"
HOSTS = Setup(
    config=f"""
authenticators: {{ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}}}
routes:
  - {{name: open, host: {PUBLIC}, path: /*, public: true}}
  - {{name: closed, host: {CLOSED}, path: /*, require: ci}}
"""
)


class TestHosts:
    @pytest.fixture
    def site(self, gateway: str, deploy: Deploy) -> Deployment:
        return deploy(gateway, HOSTS, [PUBLIC, CLOSED])

    @pytest.mark.parametrize(
        "host",
        [
            "admin\u3002example\u3002com",
            "admin\uff0eexample\uff0ecom",
            "\uff41dmin.example.com",
            "admin.example.com\u200b",
            f"{CLOSED}\0",
            f"{CLOSED}\t",
            f" {CLOSED}",
            f"{CLOSED}\r\n {PUBLIC}",
            f"{CLOSED}\nHost: {PUBLIC}",
            f"{CLOSED}%00.{PUBLIC}",
            f"{CLOSED}%2e",
            f"{CLOSED}:0",
            f"{CLOSED}:99999",
            f"{CLOSED}:80:80",
            f"{CLOSED}:@{PUBLIC}",
            f"{CLOSED}..",
            f"{CLOSED};{PUBLIC}",
            f"{CLOSED} {PUBLIC}",
            f"[{CLOSED}]",
            f"{PUBLIC}\\@{CLOSED}",
            f"x@{CLOSED}",
            f"{CLOSED}|{PUBLIC}",
            f"{CLOSED}^",
            f'"{CLOSED}"',
        ],
        ids=ascii,
    )
    def test_no_odd_name_of_a_closed_host_is_open(self, client: Client, backend: Backend, host: str) -> None:
        """Attack: dots of other scripts, control bytes, ports and userinfo, which gateways trim or map (THREATS 40)."""
        for target in ("/secret", f"http://{PUBLIC}/secret", f"http://{CLOSED}/secret", f"http://{CLOSED}@{PUBLIC}/"):
            client.get(target, host=host)
        assert [seen for seen in backend.seen if CLOSED in seen.one("Host").lower()] == []


class TraefikWithErrorPages(TraefikFile):
    """Pages of the operator's own before everything, as Traefik's errors middleware shows them."""

    name = "traefik-error-pages"

    def command(self) -> list[str | Path]:
        command = super().command()
        file = self.folder / "dynamic.yml"
        content = yaml.safe_load(file.read_text())
        pages = {"status": ["400-599"], "service": "llm", "query": "/pages/{status}"}
        content["http"]["middlewares"]["pages"] = {"errors": pages}
        content["http"]["routers"]["llm"]["middlewares"].insert(0, "pages")
        file.write_text(yaml.safe_dump(content))
        return command


class NginxWithErrorPages(Nginx):
    """The same for nginx: pages of the whole server, of which one would make a 200 of a 401."""

    name = "nginx-error-pages"

    def command(self) -> list[str | Path]:
        command = super().command()
        file = self.folder / "nginx.conf"
        pages = "error_page 401 403 =200 /pages/denied; error_page 400 500 503 /pages/failed;"
        file.write_text(
            file.read_text().replace("include forwardauth-server.conf;", f"{pages} include forwardauth-server.conf;")
        )
        return command


@pytest.mark.parametrize("kind", [TraefikWithErrorPages, NginxWithErrorPages])
def test_a_page_for_errors_makes_nothing_of_a_denial(deploy: Deploy, backend: Backend, kind: type[Gateway]) -> None:
    """Attack: be let in by the page that replaces the 401 (24513, THREATS 36)."""
    client = deploy(kind, SETUP).client()
    for headers, status in (([], 401), ([token("guess")], 401), ([token("reading-token")], 403)):
        assert client.request("POST", "/v1/echo", headers, b"body").status == status
    assert client.get("/v1/%2e%2e%5cx").status == 400
    assert backend.seen or kind is NginxWithErrorPages, "Traefik's pages are in force; nginx's the include replaces"
    assert not [seen for seen in backend.seen if not seen.target.startswith("/pages/")]
    assert client.get("/v1/models", token()).status == 200


def test_a_connection_that_drips_is_ended_and_reaches_nobody(site: Deployment, backend: Backend) -> None:
    """Attack: hold a connection of the gateway to the service by a request that never ends (THREATS 32).

    The service is asked only once the head is there: half a request leaves it as it was.
    """
    client = site.client()
    with client.connect() as connection:
        connection.send(render("GET", "/v1/models", [token()])[:-2])
        assert not connection_is_closed(connection.socket)
        assert site.client().get("/v1/models", token()).status == 200
        connection.socket.settimeout(TIMEOUT)
        connection.send(b"\r\n")
        assert connection.receive().status == 200
    assert len(backend.seen) == 2
