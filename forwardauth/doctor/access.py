"""Who passes: nobody without a credential or with a wrong one, and whoever has a right one in its header."""

from collections.abc import AsyncIterator
from urllib.parse import urlencode

from forwardauth.doctor.finding import Finding, Skipped
from forwardauth.doctor.site import Site, described, wrong
from forwardauth.doctor.wire import Answer

_PARAMETERS = ("access_token", "api_key", "apikey", "api_token", "auth", "key", "token")
"""Where services that take a credential from the query look for it (RFC 6750 2.3, and habits)."""


async def no_credential(site: Site) -> AsyncIterator[Finding]:
    """A closed path is asked for without any credential."""
    for path in site.told.closed:
        answer = site.denied if path == site.closed else await site.ask(path)
        if site.came_through(answer, path):
            yield Finding(f"{path} is open: {described(answer)} without a credential", "ask")


async def wrong_credential(site: Site) -> AsyncIterator[Finding]:
    """A credential of the right form that nobody ever had."""
    if site.rejected is not None and site.came_through(site.rejected, site.closed):
        yield Finding(f"{site.closed} opens by a wrong credential: {described(site.rejected)}", "ask")


async def right_credential(site: Site) -> AsyncIterator[Finding]:
    """No attack: the right credential arrives at the service, and the request at the backend."""
    if not site.right_credential_passes:
        answer = described(site.allowed[site.closed])
        yield Finding(f"{site.closed} does not open by the credential: {answer}", "arrives")


async def query_credential(site: Site) -> AsyncIterator[Finding]:
    """A credential in the query, which logs, histories and Referer headers would tell everybody.

    Tried with a wrong one, so that no log has the right one: where a query is read, the answer is that to a wrong
    credential and not that to none.
    """
    *others, (name, guess) = wrong(site.told.credential)
    none = await site.ask(site.closed, *others)
    if site.rejected is None or _told(site.rejected) == _told(none):
        raise Skipped("a wrong credential is answered like none, so nothing would tell them apart")
    query = urlencode(dict.fromkeys([*_PARAMETERS, name], guess))
    answer = await site.ask(f"{site.closed}{'&' if '?' in site.closed else '?'}{query}", *others)
    if site.came_through(answer, site.closed) or _told(answer) == _told(site.rejected):
        yield Finding(f"a credential in the query is read: {described(answer)}", "query")


def _told(answer: Answer) -> tuple[int, str, bytes]:
    return answer.status, answer.get("WWW-Authenticate"), answer.body
