"""HAProxy: its action carries every answer as it is."""

import pytest

from forwardauth.core.reply import Reply
from forwardauth.gateways.forwarded import HEADERS, read_forwarded
from forwardauth.gateways.haproxy import HAPROXY


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, (("X-Auth-User", "bob"),)),
        Reply(302, (("Location", "https://auth.example.com/"),)),
        Reply(401, (("WWW-Authenticate", "Bearer"),), b'{"error": {}}', "application/json"),
        Reply(429, (("Retry-After", "30"),), b"<p>", "text/html"),
        Reply(503),
    ],
    ids=lambda reply: str(reply.status),
)
def test_status_headers_and_body_are_carried(reply: Reply) -> None:
    assert HAPROXY.write(reply) is reply


def test_it_reads_what_its_action_sets_and_shows_pages() -> None:
    assert (HAPROXY.path, HAPROXY.below) == ("/verify/haproxy", False)
    assert (HAPROXY.headers, HAPROXY.read) == (HEADERS, read_forwarded)
    assert HAPROXY.carries_html
