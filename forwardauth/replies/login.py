"""The redirect to a login page, in the place of a 401. Knows addresses and what a browser asks for, no credential.

The page gets the address that was asked for as `rd`, the name by which oauth2-proxy and others know it.
"""

from urllib.parse import quote, urlsplit

from forwardauth.core.credentials import without_parameters
from forwardauth.core.reply import Reply
from forwardauth.core.routes import DEFAULT_PORTS, Host, Place

_LONGEST_TARGET = 4096
# Browsers send some 150 bytes. 64 kB of commas would be 30 ms of everybody's time.
_LONGEST_ACCEPT = 1024


def wants_page(accept: bytes) -> bool:
    """Whether an `Accept` prefers a page to JSON (RFC 9110 12.5.1); `*/*`, which API clients send, does not."""
    if len(accept) > _LONGEST_ACCEPT:
        return False
    page = json = 0.0
    for entry in accept.lower().split(b","):
        kind, *parameters = [part.strip(b" \t") for part in entry.split(b";")]
        if kind == b"text/html":
            page = max(page, _quality(parameters))
        elif kind == b"application/json":
            json = max(json, _quality(parameters))
    return page > 0 and page >= json


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name == b"q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def to_login(
    address: str, scheme: str, place: Place, target: bytes, secrets: frozenset[bytes] = frozenset()
) -> Reply | None:
    """The redirect to a login address, or None where it would lead to the page that was asked for.

    `target` is the path and query that were asked for, `secrets` the parameters that are left out. It is handed on as
    an absolute address, and only to a login page of the same site: any other has no cookie to set for it, and a made-up
    `Host` would travel there.
    """
    login = urlsplit(address)
    if place.host.name == login.hostname and place.path == login.path:
        return None
    if _same_site(place.host.name, login.hostname or ""):
        # A secret of the query would stand in the login page's address, and in its log.
        kept = without_parameters(target, secrets) if len(target) <= _LONGEST_TARGET else b"/"
        asked = _authority(scheme, place.host) + kept.decode("latin-1")
        address += f"{'&' if login.query else '?'}rd={quote(asked, safe='')}"
    return Reply(302, (("Cache-Control", "no-store"), ("Location", address)))


def _authority(scheme: str, host: Host) -> str:
    port = "" if host.port in (None, DEFAULT_PORTS[scheme.encode()]) else f":{host.port}"
    return f"{scheme}://{host.name}{port}"


def _same_site(host: str, login: str) -> bool:
    """Whether a host shares the domain of the login page: that page's own name, or what stands behind its first dot."""
    domain = login.partition(".")[2]
    labels = domain.split(".")
    # `co.uk` and `com.au` belong to everybody; the whole list of such names is as long as a book.
    if len(labels) < 2 or labels[-1].isdigit() or (len(labels) == 2 and len(labels[0]) <= 3 and len(labels[1]) == 2):
        domain = login
    return host in (login, domain) or host.endswith(f".{domain}")
