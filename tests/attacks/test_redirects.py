"""Where a browser is sent that may not pass: to the configured login page, and told to come back to its own site."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attacks.gate import DIALECTS, Asking, Gate, Header, subrequest
from tests.building import mistakes

LOGIN = "https://auth.example.com/oauth2/start"
CONFIGURATION = f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: right-token}}]}}}}
routes:
  - {{name: pages, path: /*, require: ci, login: "{LOGIN}"}}
lockout: {{max_failed_attempts: 0}}
"""
GATE = Gate(CONFIGURATION)
PAGE: Header = ("Accept", "text/html")

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def sent_to(dialect: str, url: str, *headers: Header) -> str | None:
    """Where the answer sends a browser, by any gateway; None where it sends nobody anywhere."""
    answer = GATE.send(subrequest(dialect, Asking(url=url), PAGE, *headers))
    assert answer.meant != 200
    return answer.one("X-Deny-Location") or answer.one("Location") or None


def returns_to(location: str) -> str | None:
    """The address to which the login page is told to return."""
    place = urlsplit(location)
    assert f"{place.scheme}://{place.netloc}{place.path}" == LOGIN
    assert place.fragment == ""
    found = parse_qs(place.query, keep_blank_values=True, strict_parsing=bool(place.query))
    assert set(found) <= {"rd"}
    (address,) = found.get("rd", [None])
    return address


@every_dialect
@pytest.mark.parametrize(
    "target",
    [
        "/x?rd=https://evil.example",
        "/x?a=1&rd=//evil.example&b=2",
        "/x?rd=https%3A%2F%2Fevil.example%26rd%3Dx",
        "//evil.example/x",
        "//evil.example",
        "///evil.example",
        "/https://evil.example",
        "/javascript:alert(1)",
        "/x?%0d%0aSet-Cookie:%20a=b",
        "/x?a=b&amp;rd=c",
        "/@evil.example",
    ],
)
def test_a_target_sends_nobody_elsewhere(dialect: str, target: str) -> None:
    """Attack: a path or a query that ends the address of the login page, or the one to return to (20-series, 41569).

    (THREATS 29)
    """
    location = sent_to(dialect, f"https://app.example.com{target}")
    assert location is not None
    assert "\r" not in location
    assert returns_to(location) == f"https://app.example.com{target}"


@every_dialect
@pytest.mark.parametrize(
    "target", ["/\\evil.example", "/%09//evil.example", "/%5cevil.example", "/%2f%2fevil.example", "/x?a#b", "/x;y"]
)
def test_an_ambiguous_target_is_sent_nowhere(dialect: str, target: str) -> None:
    """Attack: backslashes, tabs and fragments, which browsers read as another host (THREATS 29)."""
    assert sent_to(dialect, f"https://app.example.com{target}") is None


@every_dialect
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "example.com.evil.example",
        "evilexample.com",
        "auth.example.com.evil.example",
        "com",
        "127.0.0.1",
        "[::1]",
    ],
)
def test_a_host_of_another_site_is_not_returned_to(dialect: str, host: str) -> None:
    """Attack: a made-up Host, to which the login page then hands what it found out (THREATS 29, 40)."""
    location = sent_to(dialect, f"https://{host}/x")
    assert location is not None
    assert returns_to(location) is None


@every_dialect
@pytest.mark.parametrize(
    "host", ["app.example.com:80@evil.example", "app.example.com#@evil.example", "app.example.com,evil.example"]
)
def test_a_host_that_could_be_two_is_sent_nowhere(dialect: str, host: str) -> None:
    """Attack: userinfo and fragments in the host (THREATS 29, 40)."""
    assert sent_to(dialect, f"https://{host}/x") is None


# A space at the end of a request line is no part of a target.
@given(st.text("abc/?&=%#:@\\;.2f0d ", max_size=30).map(str.rstrip), st.sampled_from(DIALECTS))
def test_whatever_is_asked_for_the_way_back_is_to_where_one_was(target: str, dialect: str) -> None:
    """Attack: any of these letters in any order (THREATS 29)."""
    location = sent_to(dialect, f"https://app.example.com/{target}")
    if location is not None:
        assert returns_to(location) == f"https://app.example.com/{target}"


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "//auth.example.com",
        "/login",
        "https://user@auth.example.com/",
        "https:auth.example.com",
        "https://auth.example.com/#x",
        "ftp://auth.example.com/",
        "https://auth example.com",
        "https://auth.example.com\\x",
    ],
)
def test_a_login_page_is_an_absolute_address(address: str) -> None:
    """Attack on the operator: an address that browsers read in another way (THREATS 29)."""
    text = CONFIGURATION.replace(LOGIN, address.replace("\\", "\\\\"))
    assert "routes[0].login" in mistakes(text)
