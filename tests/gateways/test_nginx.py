"""nginx: the URL split by position, and every denial in an empty 401 or 403."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.model import RequestView, Subrequest
from forwardauth.core.reasons import DENIALS, NO_ROUTE, REASONS
from forwardauth.core.reply import Reply
from forwardauth.gateways.nginx import NGINX
from forwardauth.replies import FORMATS, deny
from forwardauth.service import Service
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from tests.building import Bench, snapshot, word

ASKED = Subrequest(b"GET", b"/verify/nginx", [], None)


def read(url: bytes, method: bytes = b"GET", client: bytes = b"192.0.2.1") -> RequestView:
    view = RequestView(
        fields={b"x-original-url": url, b"x-original-method": method, b"x-forwarded-for": client}, peer_trusted=True
    )
    NGINX.read(ASKED, view)
    return view


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        (b"https://api.example.com/", b"api.example.com", b"/"),
        (b"http://api.example.com:8080/v1/chat?x=/y", b"api.example.com:8080", b"/v1/chat?x=/y"),
        (b"https://a:80@b/admin", b"a:80@b", b"/admin"),
        (b"https://a?x=/public", b"a?x=", b"/public"),
        (b"https://a#/public", b"a#", b"/public"),
        (b"https://a\\b/public", b"a\\b", b"/public"),
        (b"https://h//evil/x", b"h", b"//evil/x"),
        (b"https://h/http://g/x", b"h", b"/http://g/x"),
        (b"https://[::1]:80/x", b"[::1]:80", b"/x"),
        (b"wss://h/socket", b"h", b"/socket"),
    ],
)
def test_the_url_is_split_by_position(url: bytes, host: bytes, target: bytes) -> None:
    view = read(url)
    assert (view.unreadable, view.host, view.target) == (None, host, target)


@pytest.mark.parametrize(
    "host",
    [b"a:80@b", b"a@b", b"a?x=", b"a#", b"a,b", b"a\\b", b"a b", b"a:80:80", b"a:80@b:443"],
)
def test_a_host_that_could_be_two_is_a_400(host: bytes) -> None:
    """Attack: nginx serves one host, and a URL library finds another behind `@` or `?` (seen)."""
    assert word(Bench("routes: [{path: /*, public: true}]").decide(read(b"https://" + host + b"/x"))) == (
        "malformed_subrequest"
    )


@pytest.mark.parametrize(
    ("url", "method", "client"),
    [
        (b"", b"GET", b"192.0.2.1"),
        (b"https:///x", b"GET", b"192.0.2.1"),
        (b"https://host", b"GET", b"192.0.2.1"),
        (b"https:/host/x", b"GET", b"192.0.2.1"),
        (b"//host/x", b"GET", b"192.0.2.1"),
        (b"/x", b"GET", b"192.0.2.1"),
        (b"ftp://host/x", b"GET", b"192.0.2.1"),
        (b"HTTPS://host/x", b"GET", b"192.0.2.1"),
        (b"https://host/x", b"", b"192.0.2.1"),
        (b"https://host/x", b"GET", b""),
    ],
)
def test_what_is_empty_or_no_url_is_unreadable(url: bytes, method: bytes, client: bytes) -> None:
    assert read(url, method, client).unreadable is not None


@pytest.mark.parametrize("name", [b"x-original-url", b"x-original-method", b"x-forwarded-for"])
def test_a_missing_header_is_unreadable_whatever_else_is_there(name: bytes) -> None:
    """Attack: send the other gateway's family, which nginx passes on (THREATS 2)."""
    view = read(b"https://h/x")
    del view.fields[name]
    view.fields |= {b"x-forwarded-uri": b"/public", b"x-forwarded-host": b"h", b"x-forwarded-method": b"GET"}
    NGINX.read(ASKED, view)
    assert view.unreadable is not None


@given(st.binary(max_size=60))
def test_whatever_the_url_is_nothing_of_it_is_lost_or_raised(url: bytes) -> None:
    view = read(url)
    if view.unreadable is None:
        assert view.scheme + b"://" + view.host + view.target == url
        assert b"/" not in view.host


def test_a_200_passes_as_it_is() -> None:
    reply = Reply(200, (("X-Auth-User", "bob"),))
    assert NGINX.write(reply) is reply


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.word)
@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"browser"}))
def test_a_denial_travels_in_headers_of_an_empty_401_or_403(reason: object, name: str) -> None:
    """nginx turns any other status into a 500, and a body costs the kept connection (THREATS 36)."""
    denial = next(denial for known, denial in DENIALS.items() if known is reason)
    true = deny(denial, name, retry_after=2.5 if denial.reason.status == 429 else 0)
    carried = NGINX.write(true)
    headers = dict(carried.headers)
    assert carried.status == (401 if true.status == 401 else 403)
    assert carried.body == b""
    assert headers["X-Deny-Status"] == str(true.status)
    assert headers["X-Deny-Body"].encode("ascii") == true.body
    assert "\n" not in headers["X-Deny-Body"]
    assert headers["X-Deny-Location"] == ""
    assert set(true.headers) <= set(carried.headers)
    assert len(headers) == len(carried.headers)


def test_a_redirect_travels_beside_it() -> None:
    carried = NGINX.write(Reply(302, (("Location", "https://auth.example.com/"), ("Set-Cookie", "a=b"))))
    headers = dict(carried.headers)
    assert (carried.status, headers["X-Deny-Location"]) == (403, "https://auth.example.com/")
    assert "Location" not in headers
    assert headers["Set-Cookie"] == "a=b"


def test_no_page_travels_in_a_header() -> None:
    """A page is longer than a header; who asked for one gets a sentence."""
    service = Service(
        snapshot("routes: [{path: /none, public: true}]\nerrors: browser"), {}, AuditLog("off"), Metrics("test")
    )
    headers = [(b"Host", b"x"), (b"Accept", b"text/html"), (b"X-Original-URL", b"https://a.example/")]
    headers += [(b"X-Original-Method", b"GET"), (b"X-Forwarded-For", b"192.0.2.1")]
    reply = service.answer(Subrequest(b"GET", b"/verify/nginx", headers, "127.0.0.1"))
    assert isinstance(reply, Reply)
    assert dict(reply.headers)["X-Deny-Body"] == NO_ROUTE.message
