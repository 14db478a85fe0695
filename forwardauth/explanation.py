"""One decision in words, station by station, and the request that it is about. Knows the stations and a configuration.

For people who ask why: the command asks it of a configuration, or of the running service through the admin listener.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from forwardauth.config.snapshot import Snapshot
from forwardauth.core.decide import STATIONS, Decision
from forwardauth.core.model import RequestView
from forwardauth.core.requirement import AllOf, AnyOf, Requirement


def view_of(snapshot: Snapshot, method: str, headers: Iterable[tuple[str, str]], client: str, url: str) -> RequestView:
    """The request as a gateway would tell it; a Host among `headers` replaces that of `url`, as curl has it.

    Raises ValueError where `url` is not whole.
    """
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        raise ValueError("expected a whole URL, such as https://api.example.com/v1/models")
    sent = [(name.encode(), value.encode()) for name, value in headers]
    host = next((value for name, value in sent if name.lower() == b"host"), None)
    if host is None:
        host = parts.netloc.encode()
        sent.append((b"Host", b"forwardauth"))
    target = url[len(parts.scheme) + 3 + len(parts.netloc) :] or "/"
    view = RequestView(peer_trusted=True)
    next(iter(snapshot.header_names.values())).read(sent, view)
    view.method = method.encode()
    view.scheme = parts.scheme.encode()
    view.host = host
    view.target = target.encode() if target.startswith("/") else b"/" + target.encode()
    view.forwarded_for = client.encode()
    return view


def stations(decision: Decision, snapshot: Snapshot) -> list[str]:
    """A line for each station up to the one that answered, and the answer."""
    details = _details(decision, snapshot)
    width = max(map(len, STATIONS))
    lines = []
    for station in STATIONS[: STATIONS.index(decision.station)]:
        lines.append(f"{station.ljust(width)}  ok    {details.get(station, '')}".rstrip())
    denial = decision.denial
    if denial is None:
        lines.append(f"{decision.station.ljust(width)}  ALLOW {details.get(decision.station, '')}".rstrip())
        lines.append(f"200 as {_identity(decision)}")
    else:
        wait = f", in {decision.retry_after:.0f} s again" if decision.retry_after else ""
        lines.append(f"{decision.station.ljust(width)}  DENY  {denial.reason.word}{wait}")
        lines.append(f"{denial.reason.status} {denial.code}: {denial.message}")
    return lines


def described(requirement: Requirement) -> str:
    """A requirement in words: `staff and (ci or office)`."""
    if isinstance(requirement, AnyOf | AllOf):
        word = " or " if isinstance(requirement, AnyOf) else " and "
        members = [described(member) for member in requirement.members]
        return word.join(f"({member})" if " " in member else member for member in members)
    return requirement.authenticator.name


def _details(decision: Decision, snapshot: Snapshot) -> dict[str, str]:
    details: dict[str, str] = {}
    if decision.place is not None:
        route = decision.place.route
        details["route"] = f"{route.name} ({decision.place.host.name} {decision.place.path})"
        details["public"] = "" if route.requirement is None else f"no, needs {described(route.requirement)}"
        if not snapshot.require_auth:
            details["public"] = "authentication is disabled"
    if decision.client is not None:
        details["client address"] = decision.client.address
    if decision.identity.authenticators:
        details["authenticators"] = f"{decision.identity.method}: {_identity(decision)}"
    return details


def _identity(decision: Decision) -> str:
    identity = decision.identity
    named = {"user": identity.user, "email": identity.email, "tenant": identity.tenant, "key": identity.key}
    return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "nobody in particular"
