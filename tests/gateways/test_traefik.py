"""Traefik: every answer passes as it is."""

import pytest

from forwardauth.core.reply import Reply
from forwardauth.gateways.traefik import TRAEFIK


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
    assert TRAEFIK.write(reply) is reply


def test_it_asks_at_its_own_path_and_shows_pages() -> None:
    assert TRAEFIK.path == "/verify/traefik"
    assert TRAEFIK.carries_html
