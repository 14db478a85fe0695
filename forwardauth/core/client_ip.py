"""Who is calling: peer and forwarded headers to a client address, or a refusal. Knows no header names and no sockets.

The address is counted from the right of `X-Forwarded-For`, where trusted gateways append (RFC 7239 5.2 tells why the
left is anybody's word). IPv4-mapped IPv6 addresses count as IPv4; IPv6 callers own a /64, so they are counted by it.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from forwardauth.core.lockout import WIDE_MULTIPLE, Keys
from forwardauth.core.memo import Memo
from forwardauth.core.model import Client

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NAMED_NETWORKS: dict[str, tuple[str, ...]] = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    # RFC 1918, RFC 4193, and link-local (RFC 3927, RFC 4291 2.5.6).
    "private": (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "169.254.0.0/16",
        "fe80::/10",
    ),
}

_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_BYTE}\.{_BYTE}\.{_BYTE}\.{_BYTE}")

# Longer values are read each time: a memo of 32 kB headers would not be bounded memory.
_MEMO_KEY_BYTES = 64
_MEMO_SIZE = 65_536


def parse_address(text: str) -> Address:
    """A plain IP address, IPv4-mapped ones as IPv4. Raises ValueError for anything else: ports, brackets, zones."""
    if "%" in text:
        raise ValueError("an address with a zone")
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def parse_networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Addresses, CIDR networks and the names `loopback` and `private` as networks. Raises ValueError with the word."""
    found: list[Network] = []
    for name in names:
        for text in NAMED_NETWORKS.get(name, (name,)):
            try:
                network = ip_network(text.strip(), strict=False)
            except ValueError:
                raise ValueError(f"{text!r} is no address, network (10.0.0.0/8), loopback or private") from None
            mapped = getattr(network.network_address, "ipv4_mapped", None)
            if mapped is not None and network.prefixlen >= 96:
                network = IPv4Network((mapped, network.prefixlen - 96))
            found.append(network)
    return tuple(found)


def within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address.version == network.version and address in network for network in networks)


class ClientReader:
    """Reads `X-Forwarded-For` values for one configuration.

    `depth` is the entry's place from the right (1: the last). Answers are remembered, bounded.
    """

    __slots__ = ("_depth", "_exempt", "_memo")

    def __init__(self, depth: int, exempt: tuple[Network, ...] = ()) -> None:
        self._depth = depth
        self._exempt = exempt
        self._memo: Memo[bytes, Client] = Memo(_MEMO_SIZE)

    def read(self, forwarded_for: bytes) -> Client | None:
        """The client, or None: too few entries, or an entry that is no plain address."""
        client = self._memo.young.get(forwarded_for) or self._memo.get(forwarded_for)
        if client is None:
            client = self._read(forwarded_for)
            if client is not None and len(forwarded_for) <= _MEMO_KEY_BYTES:
                self._memo.put(forwarded_for, client)
        return client

    def _read(self, forwarded_for: bytes) -> Client | None:
        entries = forwarded_for.split(b",")
        if len(entries) < self._depth:
            return None
        text = entries[-self._depth].strip(b" \t").decode("latin-1")
        further_hops = len(entries) > self._depth
        packed = _plain_ipv4(text)
        if packed is not None and not self._exempt:
            return Client(text, packed, ((packed, 1),), further_hops, exempt=False)
        try:
            address = parse_address(text)
        except ValueError:
            return None
        exempt = within(address, self._exempt)
        key = address.packed if address.version == 4 else address.packed[:8]
        return Client(str(address), key, () if exempt else address_keys(address), further_hops, exempt)


def address_keys(address: Address) -> Keys:
    """Whom failures of an address count against.

    Lengths keep keys apart: 4 and 8 bytes of address, 6 of a /48, and more with a user's digest.
    """
    if address.version == 4:
        return ((address.packed, 1),)
    return ((address.packed[:8], 1), (address.packed[:6], WIDE_MULTIPLE))


def _plain_ipv4(text: str) -> bytes | None:
    """The four bytes of a dotted address, or None: a fifth of the time that ipaddress takes, for most callers."""
    return bytes(map(int, text.split("."))) if _IPV4.fullmatch(text) else None


def lockout_keys(client: Client, user: bytes | None) -> Keys:
    """Whom a failure of this client counts against.

    At an exempt address that is the (client, user name) alone, and nobody where no user name was given: an address
    that carries many callers is never blocked as a whole.
    """
    if not client.exempt:
        return client.keys
    return () if user is None else ((client.key + user, 1),)
