"""Traefik: every answer passes as it is."""

import pytest

from forwardauth.core.reply import Reply
from forwardauth.gateways.lines import Names
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


def test_the_lines_delete_what_a_client_writes_as_an_identity_and_keep_its_keys() -> None:
    """Attack: `X-Auth-User: admin` through a middleware that has no line against it but the printed ones."""
    blocks = TRAEFIK.blocks(Names(("X-Auth-User", "Remote-User"), ("X-Goog-Api-Key",)))
    assert [(block.file, block.text) for block in blocks] == [
        ("traefik/dynamic.yml", "authResponseHeadersRegex: ^X-Auth-"),
        ("traefik/dynamic.yml", "authResponseHeaders:\n  - X-Goog-Api-Key\n  - Remote-User"),
        ("traefik/compose.yml", "- traefik.http.middlewares.forwardauth.forwardauth.authresponseheadersregex=^X-Auth-"),
        (
            "traefik/compose.yml",
            "- traefik.http.middlewares.forwardauth.forwardauth.authresponseheaders=X-Goog-Api-Key,Remote-User",
        ),
    ]
