"""Who is calling, counted from the right, and by which keys it is counted."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.client_ip import ClientReader, lockout_keys, parse_address, parse_networks, within
from forwardauth.core.lockout import WIDE_MULTIPLE
from tests.building import client

ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("depth", "value", "address"),
    [
        pytest.param(1, "192.0.2.1", "192.0.2.1", id="one entry"),
        pytest.param(1, "10.0.0.1, 8.8.8.8", "8.8.8.8", id="the last of two"),
        pytest.param(2, "10.0.0.1, 8.8.8.8, 9.9.9.9", "8.8.8.8", id="the second from the right"),
        pytest.param(2, "8.8.8.8,\t9.9.9.9", "8.8.8.8", id="with a tab"),
        pytest.param(2, "8.8.8.8", None, id="fewer entries than the depth"),
        pytest.param(1, "::ffff:192.0.2.1", "192.0.2.1", id="IPv4-mapped is IPv4"),
        pytest.param(1, "2001:DB8::0001", "2001:db8::1", id="IPv6 in its short form"),
        pytest.param(1, "192.0.2.1:4711", None, id="a port"),
        pytest.param(1, "[2001:db8::1]", None, id="brackets"),
        pytest.param(1, "[2001:db8::1]:4711", None, id="brackets and a port"),
        pytest.param(1, "fe80::1%eth0", None, id="a zone"),
        pytest.param(1, "::ffff:192.0.2.1%1", None, id="a zone behind a mapped address"),
        pytest.param(1, "unknown", None, id="unknown (RFC 7239)"),
        pytest.param(1, "192.0.2.01", None, id="octal"),
        pytest.param(1, "3221225985", None, id="one number"),
        pytest.param(1, "192.0.2.1/32", None, id="a network"),
        pytest.param(1, "192.0.2.1,", None, id="an empty entry"),
        pytest.param(1, "192.0.2.1 10.0.0.1", None, id="no comma"),
        pytest.param(1, "\uff1192.0.2.1", None, id="a digit of another script"),
    ],
)
def test_the_client_is_the_entry_at_the_depth_and_a_plain_address(depth: int, value: str, address: str | None) -> None:
    read = ClientReader(depth).read(value.encode())
    assert (None if read is None else read.address) == address


@given(st.integers(1, 4), st.lists(ADDRESSES, min_size=4, max_size=4), st.text(max_size=60))
def test_what_a_client_puts_before_the_gateways_entries_never_changes_who_it_is(
    depth: int, entries: list[str], prefix: str
) -> None:
    """Attack: send `X-Forwarded-For` oneself; the gateway appends to it (PR#3478, THREATS 12)."""
    reader = ClientReader(depth)
    true = ", ".join(entries[-depth:]).encode()
    honest, forged = reader.read(true), reader.read(prefix.encode("utf-8", "surrogatepass") + b", " + true)
    assert honest is not None
    assert forged is not None
    assert (forged.address, forged.key, forged.keys) == (honest.address, honest.key, honest.keys)
    assert forged.further_hops
    assert not honest.further_hops


@given(st.text("0123456789.", max_size=15) | st.text("0123456789abcdef:.%[] ", max_size=20) | ADDRESSES)
def test_an_address_is_what_the_standard_library_calls_one(text: str) -> None:
    read = ClientReader(1).read(text.encode())
    try:
        address = parse_address(text.strip(" "))
    except ValueError:
        assert read is None
    else:
        assert read is not None
        assert (read.address, read.key) == (str(address), address.packed[: 4 if address.version == 4 else 8])


@given(st.lists(ADDRESSES, min_size=1, max_size=200))
def test_remembering_clients_changes_none(addresses: list[str]) -> None:
    reader = ClientReader(1)
    for address in addresses * 2:
        read = reader.read(address.encode())
        assert read is not None
        assert read.address == str(parse_address(address))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param("192.0.2.1", "192.0.2.2", False, id="two IPv4 addresses"),
        pytest.param("192.0.2.1", "::ffff:192.0.2.1", True, id="IPv4 and its mapped form"),
        pytest.param("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True, id="one IPv6 /64"),
        pytest.param("2001:db8:1:2::1", "2001:db8:1:3::1", False, id="two IPv6 /64"),
    ],
)
def test_clients_are_counted_by_ipv4_address_and_ipv6_network(first: str, second: str, same: bool) -> None:
    assert (client(first).key == client(second).key) is same


def test_an_ipv6_client_is_counted_by_its_48_with_twenty_times_the_limit() -> None:
    near, far = (lockout_keys(client(address), None) for address in ("2001:db8:1:2::1", "2001:db8:1:3::1"))
    assert [multiple for _, multiple in near] == [1, WIDE_MULTIPLE]
    assert WIDE_MULTIPLE == 20
    assert near[0] != far[0]
    assert near[1] == far[1]
    assert lockout_keys(client("192.0.2.1"), None) == ((client("192.0.2.1").key, 1),)


@given(st.lists(ADDRESSES, max_size=50))
def test_no_two_kinds_of_key_are_ever_the_same(addresses: list[str]) -> None:
    """Attack: an address whose /48 key is somebody else's IPv4 key."""
    clients = [client(address) for address in addresses]
    narrow = {one.key for one in clients}
    wide = {key for one in clients for key, multiple in one.keys if multiple > 1}
    assert not narrow & wide


def test_an_exempt_address_is_counted_per_user_name_and_never_as_a_whole() -> None:
    edge = ClientReader(1, parse_networks(["198.51.100.0/24"])).read(b"198.51.100.7")
    assert edge is not None
    assert edge.exempt
    assert lockout_keys(edge, None) == ()
    assert lockout_keys(edge, b"bob") != lockout_keys(edge, b"eve") != ()
    assert not client("192.0.2.1").exempt


@pytest.mark.parametrize(
    ("names", "address", "inside"),
    [
        pytest.param(["loopback"], "127.9.9.9", True, id="loopback is 127.0.0.0/8"),
        pytest.param(["loopback"], "::1", True, id="and ::1"),
        pytest.param(["private"], "10.255.0.1", True, id="10.0.0.0/8 is private"),
        pytest.param(["private"], "172.31.0.1", True, id="172.16.0.0/12 is private"),
        pytest.param(["private"], "172.32.0.1", False, id="172.32.0.0 is not"),
        pytest.param(["private"], "192.168.1.1", True, id="192.168.0.0/16 is private"),
        pytest.param(["private"], "fd00::1", True, id="fc00::/7 is private"),
        pytest.param(["private"], "fe80::1", True, id="link-local is private"),
        pytest.param(["private"], "169.254.1.1", True, id="IPv4 link-local too"),
        pytest.param(["private"], "100.64.0.1", False, id="a carrier's network is not (RFC 6598)"),
        pytest.param(["private"], "127.0.0.1", False, id="private is not loopback"),
        pytest.param(["10.8.0.0/16"], "::ffff:10.8.0.1", True, id="mapped against a network"),
        pytest.param(["::ffff:10.8.0.0/112"], "10.8.0.1", True, id="plain against a mapped network"),
        pytest.param(["10.8.0.7"], "10.8.0.7", True, id="a single address"),
        pytest.param(["10.8.0.7/16"], "10.8.9.9", True, id="host bits of a network"),
        pytest.param(["0.0.0.0/0"], "2001:db8::1", False, id="all of IPv4 is nothing of IPv6"),
        pytest.param([], "127.0.0.1", False, id="nothing holds nobody"),
    ],
)
def test_networks_hold_addresses_in_both_spellings(names: list[str], address: str, inside: bool) -> None:
    """Attack: `::ffff:10.0.0.5` slips past, or into, a rule for 10.0.0.0/8 (7jmw, THREATS 13)."""
    assert within(parse_address(address), parse_networks(names)) is inside


@pytest.mark.parametrize("word", ["localhost", "10.0.0.0/33", "10.0.0", "", "lo", "10.0.0.1-10.0.0.9"])
def test_what_is_no_network_is_told(word: str) -> None:
    with pytest.raises(ValueError, match="is no address, network"):
        parse_networks([word])


@given(st.ip_addresses(v=4))
def test_an_address_is_one_address_in_both_families(address: object) -> None:
    """Attack: be two clients by writing one address in two families (THREATS 13)."""
    assert parse_address(f"::ffff:{address}") == ip_address(str(address))
