"""What a gateway tells the service and the backend about a request, told by the client itself."""

from collections.abc import AsyncIterator, Iterator

from forwardauth.doctor.finding import Finding
from forwardauth.doctor.site import STRANGER, USUAL_OPEN_PATH, Site, arrived, collected
from forwardauth.doctor.wire import Headers

_ADDRESS = "203.0.113.77"
"""Nobody's (RFC 5737)."""


async def forged_request(site: Site) -> AsyncIterator[Finding]:
    """The service is told of an open path, method, host or address, while the backend gets the closed one."""
    ways = await collected(
        " ".join(f"{name}: {value}" for name, value in headers)
        for headers in _forged(site)
        if site.came_through(await site.ask(site.closed, *headers), site.closed)
    )
    if ways:
        yield Finding(f"{site.closed} opens by {', by '.join(ways)}", "forwarded")


def _forged(site: Site) -> Iterator[Headers]:
    path, host = site.open or USUAL_OPEN_PATH, site.open_host
    for name in ("X-Forwarded-Uri", "X-Original-URI", "X-Rewrite-URL", "X-Forwarded-Path", "X-Forwarded-Prefix"):
        yield ((name, path),)
    yield (("X-Original-URL", f"{site.told.scheme}://{host}{path}"),)
    yield (("X-Forwarded-Uri", path), ("X-Forwarded-Method", "GET"), ("X-Forwarded-Host", host))
    preflight = (("Origin", f"https://{STRANGER}"), ("Access-Control-Request-Method", "GET"))
    for name in ("X-Forwarded-Method", "X-Original-Method"):
        yield ((name, "OPTIONS"), *preflight)
    if host != site.told.host:
        yield from (((name, host),) for name in ("X-Forwarded-Host", "X-Host", "X-Original-Host"))
        yield (("Forwarded", f"host={host}"),)
    for address in ("127.0.0.1", "10.0.0.1", "::1"):
        names = ("X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP")
        yield tuple((name, address) for name in names)
    yield (("User-Agent", "kube-probe/1.30"), ("User-Agent", "GoogleHC/1.0"))
    yield (("X-Deny-Status", "200"), ("X-Auth-User", "doctor"), ("X-Auth-Method", "doctor"))
    yield (("Connection", "close, X-Forwarded-Uri, X-Forwarded-For, X-Original-URL, X-Original-Method"),)


async def forged_address(site: Site) -> AsyncIterator[Finding]:
    """A client writes the address from which it comes: lockouts, rates and logs are then somebody else's."""
    for way in site.echoing:
        answer = await site.along(way, ("X-Forwarded-For", _ADDRESS))
        if any(_ADDRESS in value for value in arrived(answer).get("x-forwarded-for", ())):
            yield Finding(
                f"a client's X-Forwarded-For reached the backend on {way.target}", "address", ("X-Forwarded-For",)
            )


async def forged_origin(site: Site) -> AsyncIterator[Finding]:
    """A client writes by which host and scheme it came: links, redirects and cookies of the backend follow it."""
    other = "http" if site.told.scheme == "https" else "https"
    for way in site.echoing:
        usual = arrived(await site.along(way))
        for name, value in (("X-Forwarded-Host", STRANGER), ("X-Forwarded-Proto", other)):
            came = arrived(await site.along(way, (name, value))).get(name.lower(), [])
            if value in came and value not in usual.get(name.lower(), []):
                yield Finding(f"a client's {name} reached the backend on {way.target}", "origin", (name,))
