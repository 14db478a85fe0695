"""Addresses to listen on, and the defaults of the contract."""

import pytest

from forwardauth.config.settings import Address, parse_listen
from tests.building import snapshot


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9000", Address("127.0.0.1", 9000)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:9000", Address("::1", 9000)),
        (":9000", Address("0.0.0.0", 9000)),
        ("unix:/run/forwardauth.sock", Address(unix="/run/forwardauth.sock")),
    ],
)
def test_a_listener_has_a_host_and_a_port_or_a_socket(text: str, address: Address) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "9000", "host", "host:", "host:x", "host:65536", "host:-1", "::1:9000", "unix:"])
def test_anything_else_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        parse_listen(text)


def test_what_is_absent_has_the_contracts_default() -> None:
    settings = snapshot("routes: [{path: /*, public: true}]").settings
    server, lockout = settings.server, settings.lockout
    assert (server.listen, server.public, server.admin) == ("127.0.0.1:9000", "127.0.0.1:9003", "127.0.0.1:9002")
    assert (server.trusted_peers, server.forwarded_depth, server.gateways) == (["loopback", "private"], 1, None)
    assert (settings.errors, settings.audit.path, settings.require_auth) == ("openai", "-", True)
    assert (lockout.max_failed_attempts, lockout.ttl_seconds, lockout.initial_block_seconds) == (5, 900, 30)
    assert (lockout.block_multiplier, lockout.max_block_seconds) == (2.0, 3600)
    assert (lockout.reset_on_success, lockout.exempt) == (False, [])
