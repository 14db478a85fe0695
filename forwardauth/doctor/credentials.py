"""Where credentials go: to the service, once, and no further."""

from collections.abc import AsyncIterator

from forwardauth.doctor.finding import Finding
from forwardauth.doctor.remedies import USUAL_CREDENTIALS
from forwardauth.doctor.site import Site, arrived, described
from forwardauth.doctor.wire import Headers


async def credential_ends_here(site: Site) -> AsyncIterator[Finding]:
    """The backend, and whoever reads its logs, gets a client's credential, on an open path too."""
    for way in site.echoing:
        sent = way.credential or _invented(site)
        answer = await site.along(way, *(() if way.credential else sent))
        came = {value for values in arrived(answer).values() for value in values}
        names = tuple(name for name, value in sent if value in came)
        if names:
            yield Finding(f"a client's {', '.join(names)} reached the backend on {way.target}", "credentials", names)


def _invented(site: Site) -> Headers:
    names = {name.lower(): name for name in USUAL_CREDENTIALS} | {
        name.lower(): name for name, _ in site.told.credential
    }
    return tuple((name, f"doctor={site.mark}-{number}") for number, name in enumerate(names.values()))


async def repeated_credential(site: Site) -> AsyncIterator[Finding]:
    """The same header twice: the service may judge one of them and the backend, or the next proxy, read the other."""
    credential = site.told.credential
    answer = await site.ask(site.closed, credential=2 * credential)
    if site.came_through(answer, site.closed):
        names = tuple(name for name, _ in credential)
        yield Finding(f"{', '.join(names)} may stand twice: {described(answer)}", "duplicates", names)
    elif answer.status not in (400, 401):
        yield Finding(f"a refusal with 400 arrives as {described(answer)}", "denial")
