"""Paths that two programs read in two ways: what is asked about is open, what the backend serves is closed."""

from collections.abc import AsyncIterator, Iterator

from forwardauth.doctor.finding import Finding
from forwardauth.doctor.site import USUAL_OPEN_PATH, Site, collected

_DOTS = ("..", "%2e%2e", ".%2e", "%2E.", "..;", "..;x=y", "%252e%252e", "..%00", "%c0%ae%c0%ae", "%uff0e%uff0e")
_SLASHES = ("%2f", "%5c", "\\", "%252f", "%c0%af")

_SHOWN = 3


async def closed_path_tricks(site: Site) -> AsyncIterator[Finding]:
    """A closed path in other words, so that no rule knows it and the backend does."""
    for closed in site.told.closed:
        ways = await collected(
            target for target in _disguised(closed, site) if site.opens(await site.ask(target), target)
        )
        ways += await collected(
            target for target in _neighbours(closed) if site.is_closed_content(await site.ask(target))
        )
        if ways:
            yield _finding(closed, ways)


async def open_path_tricks(site: Site) -> AsyncIterator[Finding]:
    """A closed path behind an open one: a gateway or the service sees the beginning, the backend resolves the rest."""
    assert site.open is not None
    for closed in site.told.closed:
        targets = _behind(site.open, closed)
        ways = await collected(target for target in targets if site.opens(await site.ask(target), target))
        if ways:
            yield _finding(closed, ways)


async def query_tricks(site: Site) -> AsyncIterator[Finding]:
    """An open path in the query or the fragment of a closed one: a rule that looks at the whole target finds it."""
    for closed in site.told.closed:
        path, opened = closed.partition("?")[0], site.open or USUAL_OPEN_PATH
        targets = (
            f"{path}{end}" for end in (f"?{opened}", f"?x={opened}", f"?/..{opened}", f"%3f{opened}", f"#{opened}")
        )
        ways = await collected(target for target in targets if site.came_through(await site.ask(target), target))
        if ways:
            yield _finding(closed, ways)


def _finding(closed: str, ways: list[str]) -> Finding:
    more = f" and {len(ways) - _SHOWN} more" if len(ways) > _SHOWN else ""
    return Finding(f"{closed} opens as {' '.join(ways[:_SHOWN])}{more}", "paths")


def _disguised(closed: str, site: Site) -> Iterator[str]:
    """Targets that are the closed path, or nothing: whoever reads them otherwise is mistaken."""
    yield f"{site.told.scheme}://{site.told.host}{closed}"
    path, mark, query = closed.partition("?")
    yield from (f"{each}{mark}{query}" for each in _same_path(path[1:]))


def _same_path(path: str) -> Iterator[str]:
    """A path, told without its first slash, in other words."""
    before = ("//", "///", "/./", "/%2e/", "/.;/", "/x/../", "/x/%2e%2e/", "\\", "/\\", "/%5c", "/%2f", "%2f", "")
    yield from (f"{start}{path}" for start in before)
    behind = ("/.", "/x/..", "/%2e", ";", ";x", "/;", "%00", "%0a", "%20", "%09", "\\")
    yield from (f"/{path}{end}" for end in behind)
    folder, slash, name = path.rpartition("/")
    if slash:
        yield from (f"/{folder}{each}{name}" for each in ("//", *_SLASHES))
    if path[:1].isalnum():
        yield from (f"/{percent}{ord(path[0]):02x}{path[1:]}" for percent in ("%", "%25"))


def _neighbours(closed: str) -> Iterator[str]:
    """Targets that may be other paths, and open: they tell something only if they show what the closed path shows."""
    path = closed.partition("?")[0]
    if path.rstrip("/"):
        yield path.rstrip("/") if path.endswith("/") else f"{path}/"
        yield from (path.upper(), path.title(), f"{path}.json", f"{path}.css", f"{path}/x.css")


def _behind(opened: str, closed: str) -> Iterator[str]:
    """Targets that begin with the open path and, resolved, are the closed one."""
    start = opened.partition("?")[0].rstrip("/")

    def climb(dots: str, first: str, slash: str) -> str:
        up = slash.join([dots] * start.count("/"))
        return f"{start}{first}{up}{slash}{closed[1:]}"

    yield from (climb(dots, "/", "/") for dots in _DOTS)
    yield from (climb(dots, first, slash) for dots in _DOTS[:2] for slash in _SLASHES for first in ("/", slash))
    yield from (climb("..", first, "/") for first in (";/", "%00/", "%3f/", "%23/", "#/", "//"))
