"""Ways around the gateway, and to listeners that are for the gateway and the operator alone."""

from collections.abc import AsyncIterator

from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.doctor.finding import Finding, Skipped
from forwardauth.doctor.site import Site, collected, described
from forwardauth.doctor.wire import NO_ANSWER, Answer, Headers, Request, Unreachable
from forwardauth.gateways import GATEWAYS

_VERDICT = frozenset({"x-deny-status", *(name.lower() for name in IDENTITY_FIELDS.values())})
"""Headers of a verdict: they are for the gateway, and no client sees them."""

_ADMIN = {
    "/metrics": (b"forwardauth_build_info",),
    "/control/lockouts": (b"the admin token is needed", b"not the admin listener's", b'{"lockouts"'),
}
"""Paths of the admin listener, and words of its answers there."""


async def backend_reachable(site: Site) -> AsyncIterator[Finding]:
    """The backend is asked at its own address, past every check."""
    assert site.told.backend is not None
    try:
        answer = await site.told.backend.send(Request(site.closed, host=site.told.host))
    except Unreachable:
        return
    if answer != NO_ANSWER and answer.status not in (401, 403):
        yield Finding(f"the backend answers at {site.told.backend} without the gateway: {described(answer)}", "around")


async def decision_listener(site: Site) -> AsyncIterator[Finding]:
    """A client asks the service itself for verdicts, about a request of its own invention."""
    told = _invented(site)
    if _is_verdict(await site.ask(f"/{site.mark}", *told)):
        raise Skipped("every answer looks like a verdict")
    paths = [*(dialect.path for dialect in GATEWAYS.values()), "/verify/envoy/health", "/_forwardauth"]
    answered = await collected(
        path
        for path in paths
        if _is_verdict(await site.ask(path, *told))
        or _is_verdict(await site.ask(path, *told, credential=site.told.credential))
    )
    if answered:
        yield Finding(f"{', '.join(answered)}: the service itself answers there", "listener")


def _invented(site: Site) -> Headers:
    target = site.open or site.closed
    return (
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", site.told.scheme),
        ("X-Forwarded-Host", site.told.host),
        ("X-Forwarded-Uri", target),
        ("X-Forwarded-For", "203.0.113.77"),
        ("X-Original-Method", "GET"),
        ("X-Original-URL", f"{site.told.scheme}://{site.told.host}{target}"),
    )


def _is_verdict(answer: Answer) -> bool:
    if any(name.lower() in _VERDICT for name, _ in answer.headers):
        return True
    return any(word in answer.body for word in (b"malformed_subrequest", b"untrusted_peer"))


async def admin_listener(site: Site) -> AsyncIterator[Finding]:
    """Metrics and control calls, which name routes, tenants and locked-out addresses, are asked for from outside."""
    for path, words in _ADMIN.items():
        for credential in dict.fromkeys([(), site.told.credential]):
            answer = await site.ask(path, credential=credential)
            if any(word in answer.body for word in words):
                yield Finding(f"{path} is the service's own: {described(answer)}", "admin")
                break
