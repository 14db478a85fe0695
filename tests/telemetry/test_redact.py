"""What may be written: bounded, and without what looks like a secret."""

import logging
import sys

import pytest

from forwardauth.telemetry.redact import RedactingFormatter, configure_logging, masked, shown

SECRETS = {
    "a bearer token": "Authorization: Bearer abcdef123456",
    "a password by Basic": "authorization: basic dXNlcjpwYXNzd29yZA==",
    "an OpenAI key": "key sk-proj-abcdef1234567890abcdef",
    "an Anthropic key": "sk-ant-api03-abcdefghijklmnop",
    "a key of ours": "fa_abcdefghijklmnop",
    "an xAI key": "xai-abcdefghijklmnop",
    "a GitHub token": "ghp_abcdefghijklmnop1234",
    "a key in a query": "GET /?api_key=abcdef123456&x=1",
    "a token in JSON": '{"access_token": "abcdef123456"}',
    "a password in a form": "password=abcdef123456",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    """Attack: read keys in the log (THREATS 38, 47)."""
    assert "***" in masked(text)
    for part in ("abcdef", "dXNlcjp"):
        assert part not in masked(text)


@pytest.mark.parametrize(
    "text", ["the route chat is never reached", "/v1/messages", "lockout.ttl_seconds: expected 1", "bearer of news"]
)
def test_what_is_none_stays(text: str) -> None:
    assert masked(text) == text


def test_bytes_of_a_request_are_cut_and_never_raise() -> None:
    assert shown(b"a" * 100, 10) == "a" * 10
    assert shown(b"\xff\xfe", 10) == "��"


def test_a_log_line_shows_no_secret_and_neither_does_its_traceback() -> None:
    """Attack: cause an exception whose text holds somebody's credential, and read the log."""
    try:
        raise ValueError("Bearer abcdef123456")
    except ValueError:
        failure = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "cannot read %s", ("sk-abcdefghijklmnop",), failure)
    line = RedactingFormatter("%(message)s").format(record)
    assert "abcdef" not in line
    assert "ValueError" in line


def test_the_programs_log_goes_to_stderr_redacted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    level = root.level
    try:
        configure_logging()
        logging.getLogger("forwardauth").info("Bearer abcdef123456")
    finally:
        root.setLevel(level)
    streams = capsys.readouterr()
    assert "Bearer ***" in streams.err
    assert "abcdef" not in streams.err + streams.out
