"""What a client reads that is not let in: the service's own words, whatever the gateway makes of a subrequest."""

from collections.abc import AsyncIterator

from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.doctor.finding import Finding, Skipped
from forwardauth.doctor.site import Site, described, wrong
from forwardauth.doctor.wire import NO_ANSWER, Answer, Headers

_FOR_THE_GATEWAY = ("X-Deny-Status", "X-Deny-Type", "X-Deny-Body", "X-Deny-Location", *IDENTITY_FIELDS.values())


async def denial_intact(site: Site) -> AsyncIterator[Finding]:
    """No attack: a request without a credential is answered with 401, a challenge and a body, and nothing else."""
    answer = site.denied
    if answer.status == 403 and not site.right_credential_passes:
        raise Skipped("a 403 may be meant, as long as no credential opens the path")
    if answer.status != 401:
        yield Finding(f"a missing credential is answered with {_status(answer)} instead of 401", "denial")
        return
    if not answer.get("WWW-Authenticate"):
        yield Finding("the 401 has no WWW-Authenticate, which RFC 9110 asks for (11.6.1)", "challenge")
    if fault := _body_fault(answer):
        yield Finding(f"the 401 {fault}", "denial")
    told = [name for name in _FOR_THE_GATEWAY if answer.all(name)]
    if told:
        yield Finding(f"the client reads {', '.join(told)}, which is for the gateway", "denial")


def _status(answer: Answer) -> str:
    where = answer.get("Location")
    return f"{described(answer)} to {where[:80]!r}" if where else described(answer)


def _body_fault(answer: Answer) -> str:
    if not answer.body:
        return "has no body"
    if b"<html" in answer.body[:200].lower():
        return "is the gateway's own page"
    return ""


async def lockout(site: Site) -> AsyncIterator[Finding]:
    """A guesser changes his address with every guess, in headers that a gateway may believe; after that, openly.

    The 429 that ends it has to arrive whole, or SDKs throw the key away rather than wait.
    """
    if site.rejected is not None and site.rejected.status != 401:
        raise Skipped(f"a wrong credential is answered with {_status(site.rejected)}, and so a lockout may be")
    last = await _guess(site, forged=True)
    if last.status == 401:
        last = await _guess(site, forged=False)
        if last.status == 429:
            yield Finding("a guesser who writes an X-Forwarded-For of his own is never locked out", "address")
    if last.status == 401:
        yield Finding(f"{site.told.burst} wrong credentials in a row are no lockout", "lockout")
    elif last.status != 429:
        yield Finding(f"a lockout is answered with {_status(last)} instead of 429", "limit")
    else:
        for fault in _limit_faults(last):
            yield Finding(f"the 429 {fault}", "limit")


async def _guess(site: Site, *, forged: bool) -> Answer:
    """Guess until the answer is no 401 any more, or the burst is over; the last answer."""
    answer = NO_ANSWER
    for number in range(1, site.told.burst + 1):
        address = f"203.0.113.{number}"
        headers: Headers = (("X-Forwarded-For", address), ("X-Real-IP", address)) if forged else ()
        answer = await site.ask(site.closed, *headers, credential=wrong(site.told.credential), may_be_limited=True)
        if answer.status != 401:
            break
    return answer


def _limit_faults(answer: Answer) -> list[str]:
    faults = [_body_fault(answer)]
    if not answer.get("Retry-After").isdigit():
        faults.append("has no Retry-After")
    return list(filter(None, faults))
