"""Methods that nobody thought of when he wrote the rules."""

from collections.abc import AsyncIterator

from forwardauth.doctor.finding import Finding
from forwardauth.doctor.site import STRANGER, Site, collected, described

_OTHERS = ("HEAD", "POST", "OPTIONS", "PROPFIND", "get", "DOCTOR")
"""One for each rule that lists methods: safe, writing, answered by itself, rare, misspelt, invented. None deletes."""

_OVERRIDES = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")

_PREFLIGHT = (("Origin", f"https://{STRANGER}"), ("Access-Control-Request-Method", "GET"))


async def other_methods(site: Site) -> AsyncIterator[Finding]:
    """A closed path is asked for by another method than GET, without a credential."""
    opened = await collected(
        method for method in _OTHERS if site.came_through(await site.ask(site.closed, method=method), site.closed)
    )
    if opened:
        yield Finding(f"{site.closed} needs no credential for {', '.join(opened)}", "methods")


async def reflecting_methods(site: Site) -> AsyncIterator[Finding]:
    """TRACE repeats a request to its sender, with what was put into it on the way: an injected provider key."""
    targets = {site.closed: site.told.credential} | ({} if site.open is None else {site.open: ()})
    for target, credential in targets.items():
        for method in ("TRACE", "TRACK"):
            answer = await site.ask(target, method=method, credential=credential)
            if site.came_through(answer, target):
                yield Finding(f"{method} {target} is answered with {described(answer)}", "methods")


async def method_override(site: Site) -> AsyncIterator[Finding]:
    """The service judges one method, and the backend obeys another one that stands in a header."""
    await site.need_guarded_post()
    opened = await collected(
        f"{name}: {method}"
        for name in _OVERRIDES
        for method in ("OPTIONS", "HEAD")
        if site.came_through(await site.ask(site.closed, (name, method), method="POST"), site.closed)
    )
    if opened:
        yield Finding(f"{site.closed} opens by {', '.join(opened)}", "methods")


async def preflight(site: Site) -> AsyncIterator[Finding]:
    """A preflight brings no credential, so it is let through: with it goes whatever looks like one.

    A preflight may be answered, by the backend too (`preflight: true`). A GET with its headers may not, and no
    preflight gets what the path is closed for.
    """
    answer = await site.ask(site.closed, *_PREFLIGHT, method="OPTIONS")
    if site.is_closed_content(answer):
        yield Finding(f"a preflight gets what {site.closed} is closed for", "methods")
    answer = await site.ask(site.closed, *_PREFLIGHT)
    if site.came_through(answer, site.closed):
        yield Finding(f"{site.closed} opens for a GET with the headers of a preflight", "methods")
