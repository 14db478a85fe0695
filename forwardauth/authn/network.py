"""Where a request comes from. Knows networks of clients, no credential.

A request with a trace of a further hop is never from the network: a tunnel's or CDN's exit is not the neighbour.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from forwardauth.authn.building import Materials
from forwardauth.core.client_ip import Network as IPNetwork
from forwardauth.core.client_ip import parse_networks, within
from forwardauth.core.credentials import Source
from forwardauth.core.memo import Memo
from forwardauth.core.model import Client, Facts, Identity, Now, Rejected, RequestView, Verdict
from forwardauth.core.reasons import DENIALS, NETWORK_NOT_ALLOWED, Denial

_OUTSIDE = Rejected(DENIALS[NETWORK_NOT_ALLOWED])
_TRACES = (b"forwarded", b"cf-connecting-ip", b"true-client-ip")


@dataclass(frozen=True, slots=True)
class Settings:
    """`network:`. `allow` lists addresses and networks, or `loopback` and `private`."""

    allow: list[str]


class Neighbours:
    """Whose address is in one of some networks, and who shows no trace of having come through another hop."""

    def __init__(self, networks: tuple[IPNetwork, ...]) -> None:
        self.networks = networks
        self._memo: Memo[str, bool] = Memo(8192)

    def hold(self, view: RequestView, client: Client) -> bool:
        """Whether the client is one of them."""
        if client.further_hops or any(name in view.fields for name in _TRACES):
            return False
        inside = self._memo.get(client.address)
        if inside is None:
            inside = within(ip_address(client.address), self.networks)
            self._memo.put(client.address, inside)
        return inside


class Network:
    """Accepts a client by its address alone."""

    guessable = False
    reads: tuple[str, ...] = ()
    missing: Denial | None = None
    sources: tuple[Source, ...] = ()

    def __init__(self, name: str, allowed: tuple[IPNetwork, ...]) -> None:
        self.name = name
        self._neighbours = Neighbours(allowed)
        self._identity = Identity(authenticators=(name,), ambient=True)

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now) -> Verdict:
        """An identity without a name, or a refusal."""
        return self._identity if self._neighbours.hold(view, client) else _OUTSIDE

    @property
    def bypass(self) -> tuple[IPNetwork, ...]:
        """The networks whose clients pass by their address alone."""
        return self._neighbours.networks

    def foreign(self, header: bytes, value: bytes) -> bool | None:
        """No header is read here."""
        return None


def build(name: str, settings: Settings, materials: Materials) -> Network:
    """The authenticator of these settings; mistakes go to `materials`."""
    allowed: list[IPNetwork] = []
    for position, entry in enumerate(settings.allow):
        try:
            allowed += parse_networks([entry])
        except ValueError as mistake:
            materials.mistake(f"allow[{position}]", str(mistake))
    if not settings.allow:
        materials.mistake("allow", "expected at least one address or network")
    return Network(name, tuple(allowed))
