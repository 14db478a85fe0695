"""Who the backend believes is calling. Every check here reads what the backend repeats (`--echo`)."""

from collections.abc import AsyncIterator, Iterable, Iterator

from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.doctor.finding import Finding
from forwardauth.doctor.site import Site, Way, arrived, collected, described

_SPELLINGS = ("_", ".", "~")
"""WSGI, CGI and PHP make `_` of every character that is no letter or digit (RFC 3875 4.1.18, and beyond it)."""


async def identity_arrives(site: Site) -> AsyncIterator[Finding]:
    """No attack: the backend is told who is calling."""
    for way in _with_credential(site):
        answer = await site.along(way)
        names = [name for name in site.told.identity if any(arrived(answer).get(name.lower(), ()))]
        if not names:
            yield Finding("the backend is not told who is calling", "identity", site.told.identity)


async def spoofed_identity(site: Site) -> AsyncIterator[Finding]:
    """A client calls itself somebody, in the headers by which the service names callers."""
    for way in site.echoing:
        survived: dict[str, None] = {}
        for names in (site.told.identity, tuple(map(str.lower, site.told.identity)), 2 * site.told.identity):
            answer = await site.along(way, *((name, f"{site.mark}-{name}") for name in names))
            survived |= dict.fromkeys(
                name
                for name in site.told.identity
                if any(site.mark in value for value in arrived(answer).get(name.lower(), ()))
            )
        for remedy, names in _by_remedy(survived):
            yield Finding(f"a client's {', '.join(names)} reached the backend on {way.target}", remedy, names)


def _by_remedy(names: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The usual headers, and those of `identity_headers`: gateways have different lines for them."""
    usual = tuple(name for name in names if name in IDENTITY_FIELDS.values())
    further = tuple(name for name in names if name not in usual)
    yield from ((remedy, each) for remedy, each in (("identity", usual), ("further", further)) if each)


async def lookalike_names(site: Site) -> AsyncIterator[Finding]:
    """A client calls itself somebody in a name that a careless backend reads as ours: X_Auth_User, X.Auth.User."""
    for way in site.echoing:
        claim = f"{site.mark}-claim"
        survived = await collected(
            name for name in _lookalikes(site) if claim.encode() in (await site.along(way, (name, claim))).body
        )
        if survived:
            what = f"a client's {', '.join(survived)} reached the backend on {way.target}"
            yield Finding(what, "lookalikes", site.told.identity)


def _lookalikes(site: Site) -> list[str]:
    user, *_, last = site.told.identity
    spelt = [user.replace("-", mark) for mark in _SPELLINGS]
    return [*spelt, "_".join(user.rsplit("-", 1)), last.replace("-", "_").lower()]


async def hop_by_hop(site: Site) -> AsyncIterator[Finding]:
    """A client lists identity headers in Connection, and a proxy drops what is listed there (RFC 9110 7.6.1)."""
    listed = ("Connection", ", ".join(["close", *site.told.identity]))
    for way in _with_credential(site):
        usual, answer = await site.along(way), await site.along(way, listed)
        if answer.status // 100 != 2:
            continue
        lost = tuple(
            name
            for name in site.told.identity
            if arrived(usual).get(name.lower(), [""]) != [""] and not any(arrived(answer).get(name.lower(), ()))
        )
        if lost:
            what = f"{', '.join(lost)} did not reach the backend, named in Connection: {described(answer)}"
            yield Finding(what, "hop", lost)


def _with_credential(site: Site) -> list[Way]:
    return [way for way in site.echoing if way.credential]
