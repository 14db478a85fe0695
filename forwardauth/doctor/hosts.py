"""Hosts that two programs read in two ways: the gateway serves one, the service judges another."""

from collections.abc import AsyncIterator, Iterator

from forwardauth.doctor.finding import Finding
from forwardauth.doctor.site import STRANGER, Site, collected, described


async def host_confusion(site: Site) -> AsyncIterator[Finding]:
    """A target in absolute form beside another Host, a user or a port in Host: one name routes, the other is judged."""
    other = site.open_host if site.open_host != site.told.host else STRANGER
    ways = await collected(
        f"{target} with Host: {host or site.told.host}"
        for target, host in _confused(site, other)
        if site.came_through(await site.ask(target, host=host), target)
    )
    if ways:
        yield Finding(f"{site.closed} opens as {ways[0]}", "host")


def _confused(site: Site, other: str) -> Iterator[tuple[str, str]]:
    scheme, closed, path = site.told.scheme, site.told.host, site.closed
    yield from ((f"{scheme}://{closed}{path}", host) for host in (other, ""))
    yield from ((f"{scheme}://{user}@{closed}{path}", other) for user in (other, f"{other}:80"))
    yield from ((path, f"{closed}{middle}{other}") for middle in ("@", ":80@", "?@", "#@", "/@", "\\@", ",", ", "))
    yield from ((path, f"{closed}{end}") for end in (":80?", "?", "#", "."))


async def judged_host(site: Site) -> AsyncIterator[Finding]:
    """An absolute-form target names the closed host, Host another one: a credential that opens shows who was judged.

    Where the gateway serves the first, and the service does not know the second, the answer is 403. A gateway that
    goes by Host says what it says of any host that nobody serves.
    """
    absolute = f"{site.told.scheme}://{site.told.host}{site.closed}"
    answer = await site.ask(absolute, host=STRANGER, credential=site.told.credential)
    if answer.status == 403 and site.stranger.status != 403:
        yield Finding(f"{absolute} with Host: {STRANGER} is judged by its Host: {described(answer)}", "host")


async def two_hosts(site: Site) -> AsyncIterator[Finding]:
    """Two Host lines: RFC 9112 3.2 asks for a 400, since each program may take another one."""
    for hosts in ((site.told.host, STRANGER), (STRANGER, site.told.host)):
        lines = tuple(("Host", host) for host in hosts)
        answer = await site.ask(site.closed, *lines, host=None, credential=site.told.credential)
        if site.came_through(answer, site.closed):
            yield Finding(f"Host: {hosts[0]} and Host: {hosts[1]} are served: {described(answer)}", "host")
