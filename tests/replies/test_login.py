"""Who is sent to the login page instead of reading a 401, and which address goes along."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.core.routes import Host, Place, Route
from forwardauth.replies.login import to_login, wants_page
from tests.building import Bench, mistakes

LOGIN = "https://auth.example.com/oauth2/start"
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def redirect(
    host: str, target: bytes = b"/dash", login: str = LOGIN, scheme: str = "https", port: int | None = None
) -> str | None:
    """Where a browser goes."""
    place = Place(Route("dash", ("/*",)), Host(host, port), target.partition(b"?")[0].decode())
    reply = to_login(login, scheme, place, target)
    return None if reply is None else dict(reply.headers)["Location"]


def returned(location: str | None) -> str | None:
    """The address that the login page is told to come back to."""
    assert location is not None
    return parse_qs(urlsplit(location).query).get("rd", [None])[0]


@pytest.mark.parametrize(
    ("accept", "wants"),
    [
        (CHROMIUM, True),
        ("text/html", True),
        ("TEXT/HTML;charset=utf-8", True),
        ("application/json, text/html", True),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("text/event-stream", False),
        ("", False),
        ("," * 2000 + "text/html", False),
    ],
)
def test_a_page_is_wanted_by_who_prefers_it(accept: str, wants: bool) -> None:
    assert wants_page(accept.encode()) is wants


@given(st.binary(max_size=200))
def test_any_accept_is_read(accept: bytes) -> None:
    assert wants_page(accept) in (True, False)


@pytest.mark.parametrize("host", ["auth.example.com", "example.com", "app.example.com", "a.b.example.com"])
def test_the_login_page_learns_the_address_of_its_own_site(host: str) -> None:
    location = redirect(host, b"/dash?a=b&c=%2F")
    assert returned(location) == f"https://{host}/dash?a=b&c=%2F"
    assert location is not None
    assert location.startswith(f"{LOGIN}?rd=https%3A%2F%2F")


@pytest.mark.parametrize(
    ("host", "login"),
    [
        ("evil.com", LOGIN),
        ("auth.example.com.evil.com", LOGIN),
        ("evilexample.com", LOGIN),
        ("com", LOGIN),
        ("evil.co.uk", "https://example.co.uk/login"),
        ("127.0.0.2", "https://127.0.0.1/login"),
        ("[::2]", "https://auth.example.com/login"),
        ("other", "https://localhost/login"),
    ],
)
def test_a_made_up_host_does_not_travel_to_the_login_page(host: str, login: str) -> None:
    """Attack: a `Host` of one's own, so that the login page sends its user there (THREATS 29)."""
    assert redirect(host, login=login) == login


@pytest.mark.parametrize(("scheme", "port", "shown"), [("https", 443, ""), ("http", 80, ""), ("http", 8080, ":8080")])
def test_a_port_is_told_where_it_is_not_the_schemes_own(scheme: str, port: int, shown: str) -> None:
    assert returned(redirect("app.example.com", scheme=scheme, port=port)) == f"{scheme}://app.example.com{shown}/dash"


def test_a_login_address_keeps_its_own_query() -> None:
    location = redirect("app.example.com", login=f"{LOGIN}?tenant=a")
    assert location == f"{LOGIN}?tenant=a&rd=https%3A%2F%2Fapp.example.com%2Fdash"


def test_the_login_page_itself_is_no_place_to_be_sent_from() -> None:
    assert redirect("auth.example.com", b"/oauth2/start?rd=x") is None


def test_a_very_long_target_is_left_at_the_door() -> None:
    assert returned(redirect("app.example.com", b"/dash?" + b"x" * 30_000)) == "https://app.example.com/"


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60))
def test_whatever_was_asked_for_stays_one_parameter(rest: str) -> None:
    """Attack: end the parameter, and add one of one's own (THREATS 29)."""
    target = f"/dash?{rest}".encode()
    location = redirect("app.example.com", target)
    assert returned(location) == "https://app.example.com" + target.decode()
    assert location is not None
    assert list(parse_qs(urlsplit(location).query)) == ["rd"]


BENCH = Bench(
    f"""
authenticators: {{ci: {{token: {{from: [{{cookie: key}}, bearer], tokens: [{{name: a, value: hunter2hunter2}}]}}}}}}
routes:
  - {{path: /dash, require: ci, login: "{LOGIN}"}}
  - {{path: /api, require: ci}}
"""
)


def ask(path: str = "/dash", method: str = "GET", accept: str = CHROMIUM, *headers: tuple[str, str]) -> Reply:
    sent = {
        "Host": "forwardauth",
        "X-Forwarded-Method": method,
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "app.example.com",
        "X-Forwarded-Uri": path,
        "X-Forwarded-For": "192.0.2.7",
        "Accept": accept,
    } | dict(headers)
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    reply = BENCH.service.answer(Subrequest(b"GET", b"/verify/traefik", raw, "127.0.0.1"))
    assert isinstance(reply, Reply)
    return reply


def test_a_page_view_is_redirected_and_nothing_else_is() -> None:
    assert ask().status == 302
    assert ask(method="HEAD").status == 302
    assert ask(method="POST").status == 401
    assert ask(accept="*/*").status == 401
    assert ask("/api").status == 401
    assert ask("/dash", "GET", CHROMIUM, ("Sec-WebSocket-Key", "x")).status == 401
    assert ask("/nowhere").status == 403
    assert ask("/dash", "GET", CHROMIUM, ("Cookie", "key=stale")).status == 302
    assert ask("/dash", "GET", CHROMIUM, ("Cookie", "key=hunter2hunter2")).status == 200


def test_two_clients_of_one_page_get_each_their_own_answer() -> None:
    """A reply that is kept for one of them must not reach the other."""
    assert [ask(accept=accept).status for accept in (CHROMIUM, "*/*", CHROMIUM, "*/*")] == [302, 401, 302, 401]


def test_true_is_the_service_s_own_page() -> None:
    text = """
server: {{{public}}}
authenticators: {{ci: {{token: {{tokens: [{{name: a, value: hunter2hunter2}}]}}}}}}
routes: [{{path: /dash, require: ci, login: {login}}}]
"""
    bench = Bench(text.format(public='public_url: "https://auth.example.com/"', login="true"))
    assert bench.snapshot.routes.routes[0].login == "https://auth.example.com/auth/login"
    assert "routes[0].login" in str(mistakes(text.format(public="", login="true")))
    for wrong in ("//evil", "/login", '"javascript:alert(1)"', '"https://a b/"', '"https://user@a/"', '"https://a/#x"'):
        assert "routes[0].login" in str(mistakes(text.format(public="", login=wrong)))
    assert "server.public_url" in str(mistakes(text.format(public="public_url: auth.example.com", login="false")))
