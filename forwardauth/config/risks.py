"""What is allowed but risky, told at every start. Knows a snapshot and this host's routes."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from forwardauth.config.snapshot import Snapshot, bypasses
from forwardauth.core.client_ip import within


class Risk(NamedTuple):
    """A word for the metric (empty: none), and a sentence for the log."""

    word: str
    text: str


def default_gateways(table: Path = Path("/proc/net/route")) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses of this host's default gateways (Linux; none elsewhere)."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return ()
    columns = [line.split() for line in lines]
    # Little-endian hex: destination, gateway; 00000000 is the default route.
    return tuple(
        IPv4Address(bytes.fromhex(row[2])[::-1]) for row in columns if len(row) > 2 and row[1] == "00000000" != row[2]
    )


def risks(snapshot: Snapshot, gateways: tuple[IPv4Address, ...]) -> Iterator[Risk]:
    """Every risk of a configuration."""
    if not snapshot.require_auth:
        yield Risk(
            "",
            "AUTHENTICATION IS DISABLED: every request to a configured route passes. Never in production.",
        )
    elif all(route.requirement is None for route in snapshot.routes.routes):
        yield Risk("", "EVERY ROUTE IS PUBLIC: nothing asks for a credential.")
    for name in sorted({each.decode() for each in snapshot.credential_parameters}):
        yield Risk(
            "",
            f"keys are looked for in the query, as {name}: gateways and backends write addresses into their logs",
        )
    for authenticator in bypasses(snapshot):
        overlap = [
            str(allowed)
            for allowed in authenticator.bypass
            if any(allowed.version == peer.version and allowed.overlaps(peer) for peer in snapshot.trusted)
        ]
        if overlap:
            yield Risk(
                "bypass_overlaps_peers",
                f"authenticator {authenticator.name} lets {', '.join(overlap)} pass, where trusted peers are too: a "
                "gateway that does not tell its clients' addresses would let everybody in",
            )
        inside = [str(gateway) for gateway in gateways if within(gateway, authenticator.bypass)]
        if inside:
            yield Risk(
                "bypass_holds_gateway",
                f"authenticator {authenticator.name} holds {', '.join(inside)}, this host's default gateway: what is "
                "translated (NAT, Docker's bridge) comes from that address",
            )
