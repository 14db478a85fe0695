"""Every reason in every format: a body of ASCII on one line, and the headers that every denial carries."""

import json
from dataclasses import replace

import pytest

from forwardauth.core.rate import parse_limit
from forwardauth.core.reasons import DENIALS, LOCKED_OUT, MISSING_CREDENTIAL, RATE_LIMITED, REASONS, Reason
from forwardauth.replies import FORMATS, deny

CHALLENGED = replace(DENIALS[MISSING_CREDENTIAL], challenge='Bearer, Basic realm="x"')


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.word)
def test_a_body_is_small_ascii_on_one_line_without_a_secret(reason: Reason, name: str) -> None:
    reply = deny(DENIALS[reason], name)
    assert reply.status == reason.status
    text = reply.body.decode("ascii")
    assert text
    assert text.isprintable()
    assert len(text) < 2048
    if reply.content_type == "application/json":
        assert isinstance(json.loads(text), dict)


def test_the_formats_are_the_contracts() -> None:
    assert sorted(FORMATS) == ["anthropic", "browser", "detail", "openai", "plain"]


@pytest.mark.parametrize("name", FORMATS)
def test_no_proxy_keeps_a_denial_and_no_browser_guesses_its_type(name: str) -> None:
    reply = deny(CHALLENGED, name)
    headers = dict(reply.headers)
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert reply.content_type


def test_a_401_carries_one_line_of_challenges() -> None:
    reply = deny(CHALLENGED, "openai")
    assert [value for name, value in reply.headers if name == "WWW-Authenticate"] == ['Bearer, Basic realm="x"']


@pytest.mark.parametrize(
    ("wait", "seconds", "milliseconds"), [(30.0, "30", "30000"), (0.2, "1", "200"), (29.1, "30", "29100")]
)
def test_a_429_says_when_to_come_again_and_never_too_early(wait: float, seconds: str, milliseconds: str) -> None:
    headers = dict(deny(DENIALS[RATE_LIMITED], "openai", wait, parse_limit("100/h"), "credential").headers)
    assert (headers["Retry-After"], headers["retry-after-ms"]) == (seconds, milliseconds)
    assert headers["RateLimit-Policy"] == '"credential";q=100;w=3600'
    assert headers["RateLimit"] == f'"credential";r=0;t={seconds}'
    assert "x-should-retry" not in headers


def test_a_lockout_tells_sdks_not_to_retry() -> None:
    """Both big SDKs hammer a 429 twice more otherwise."""
    headers = dict(deny(DENIALS[LOCKED_OUT], "openai", 30.0).headers)
    assert (headers["Retry-After"], headers["x-should-retry"]) == ("30", "false")
    assert "RateLimit" not in headers


@pytest.mark.parametrize("reason", [reason for reason in REASONS if reason.status != 429], ids=lambda r: r.word)
def test_only_what_may_succeed_later_says_so(reason: Reason) -> None:
    assert ("Retry-After" in dict(deny(DENIALS[reason], "openai").headers)) is (reason.status == 503)
