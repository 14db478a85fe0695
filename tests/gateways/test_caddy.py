"""Caddy: every answer passes as it is."""

import pytest

from forwardauth.core.reply import Reply
from forwardauth.gateways.caddy import CADDY


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, (("X-Auth-User", "bob"),)),
        Reply(401, (("WWW-Authenticate", "Bearer"),), b'{"error": {}}', "application/json"),
        Reply(429, (("Retry-After", "30"),), b"<p>", "text/html"),
        Reply(503),
    ],
    ids=lambda reply: str(reply.status),
)
def test_status_headers_and_body_are_carried(reply: Reply) -> None:
    assert CADDY.write(reply) is reply


def test_it_asks_at_its_own_path_and_shows_pages() -> None:
    assert CADDY.path == "/verify/caddy"
    assert CADDY.carries_html


def test_it_reads_the_five_headers_that_caddy_sets() -> None:
    names = ("method", "proto", "host", "uri", "for")
    assert CADDY.headers == {f"x-forwarded-{name}".encode() for name in names}
