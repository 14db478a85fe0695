"""What is allowed but risky is told at every start."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from forwardauth.config.risks import default_gateways, risks
from tests.building import snapshot

BYPASS = """
server: {trusted_peers: %s}
authenticators: {office: {network: {allow: %s}}}
routes: [{path: /*, require: office}]
"""


def told(text: str, *gateways: str) -> list[tuple[str, str]]:
    return list(risks(snapshot(text), tuple(map(IPv4Address, gateways))))


@pytest.mark.parametrize(
    ("peers", "allow", "gateways", "words"),
    [
        ("[loopback]", "[10.8.0.0/16]", [], []),
        ("[private]", "[10.8.0.0/16]", [], ["bypass_overlaps_peers"]),
        ("[10.8.3.4]", "[10.8.0.0/16]", [], ["bypass_overlaps_peers"]),
        ("['::ffff:10.8.3.4']", "[10.8.0.0/16]", [], ["bypass_overlaps_peers"]),
        ("[10.9.0.0/16]", "[10.8.0.0/16]", [], []),
        ("['::1']", "[127.0.0.1]", [], []),
        ("[loopback]", "[172.17.0.0/16]", ["172.17.0.1"], ["bypass_holds_gateway"]),
        ("[loopback]", "[172.18.0.0/16]", ["172.17.0.1"], []),
        ("[private]", "[private]", ["172.17.0.1"], ["bypass_overlaps_peers", "bypass_holds_gateway"]),
    ],
)
def test_a_bypass_that_may_be_the_gateways_own_address_is_told(
    peers: str, allow: str, gateways: list[str], words: list[str]
) -> None:
    """Attack: come through the bridge or the gateway, whose address the bypass holds (THREATS 14)."""
    found = told(BYPASS.replace("%s", peers, 1).replace("%s", allow), *gateways)
    assert [word for word, _ in found] == words
    assert all("office" in text for _, text in found)


def test_disabled_authentication_is_shouted() -> None:
    ((_, text),) = told("routes: [{path: /a, public: true}]\nrequire_auth: false")
    assert "AUTHENTICATION IS DISABLED" in text


def test_a_configuration_without_a_closed_route_is_shouted() -> None:
    ((_, text),) = told("routes: [{path: /a, public: true}]")
    assert "EVERY ROUTE IS PUBLIC" in text


def test_the_default_gateway_is_read_from_the_kernel(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\n"
        "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n"
        "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\n"
    )
    assert default_gateways(table) == (IPv4Address("172.17.0.1"),)
    assert default_gateways(tmp_path / "none") == ()
