"""Attacks on a deployment from outside: one file for each family, and one line here for each check.

Knows HTTP and the names of gateways; no service, no configuration of ours, no terminal.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from forwardauth.doctor import (
    access,
    around,
    credentials,
    denials,
    hosts,
    identity,
    messages,
    methods,
    paths,
    traces,
)
from forwardauth.doctor.finding import Finding, Outcome, Skipped
from forwardauth.doctor.site import Site

Need = Callable[[Site], str]
"""Why a check cannot be made on a site; empty if it can."""


def credential(site: Site) -> str:
    """A valid credential is there."""
    return "" if site.told.credential else "needs a valid credential (-H)"


def passing(site: Site) -> str:
    """The valid credential opens the closed path."""
    return credential(site) or ("" if site.right_credential_passes else "the credential does not open the path")


def guarded(site: Site) -> str:
    """The closed path is not open to everybody."""
    return "the path is open to everybody" if site.unguarded else ""


def answering(site: Site) -> str:
    """An ordinary request gets an answer that is no failure."""
    return "every answer is a failure" if site.denied.status >= 500 else ""


def open_path(site: Site) -> str:
    """There is a path on the same host that needs no credential."""
    if site.open is None:
        return "needs a path that is open (--open)"
    return "" if site.open_host == site.told.host else "the open path is on another host"


def echo(site: Site) -> str:
    """The backend repeats the headers that reach it."""
    return "" if site.echoing else "needs a backend that repeats its headers (--echo)"


def echo_of_credential(site: Site) -> str:
    """It does so on the closed path."""
    return echo(site) or ("" if any(way.credential for way in site.echoing) else "the closed path repeats no headers")


def backend(site: Site) -> str:
    """The backend's own address is known."""
    return "" if site.told.backend is not None else "needs the backend's own address (--backend)"


def burst(site: Site) -> str:
    """The operator allows guesses, after which this address is locked out."""
    return credential(site) or ("" if site.told.burst else "locks this address out; --burst N allows it")


@dataclass(frozen=True, slots=True)
class Check:
    """An attack, told by its docstring, and what it needs."""

    run: Callable[[Site], AsyncIterator[Finding]]
    needs: tuple[Need, ...] = ()

    @property
    def name(self) -> str:
        """What an operator calls it."""
        return self.run.__name__.replace("_", "-")

    @property
    def attack(self) -> str:
        """The attack in a sentence."""
        return " ".join((self.run.__doc__ or "").split("\n\n")[0].split())

    async def outcome(self, site: Site) -> Outcome:
        """Make the check. Raises Unreachable where the deployment does not answer any more."""
        found: list[Finding] = []
        try:
            for need in self.needs:
                if reason := need(site):
                    raise Skipped(reason)
            async for finding in self.run(site):
                found.append(finding)
        except Skipped as skipped:
            return Outcome(self.name, tuple(found), str(skipped))
        return Outcome(self.name, tuple(found))


CHECKS: tuple[Check, ...] = (
    Check(access.no_credential),
    Check(access.wrong_credential, (credential, guarded)),
    Check(access.right_credential, (credential,)),
    Check(access.query_credential, (passing, guarded)),
    Check(around.backend_reachable, (backend,)),
    Check(around.decision_listener),
    Check(around.admin_listener),
    Check(identity.identity_arrives, (echo_of_credential,)),
    Check(identity.spoofed_identity, (echo,)),
    Check(identity.lookalike_names, (echo,)),
    Check(identity.hop_by_hop, (echo_of_credential,)),
    Check(credentials.credential_ends_here, (echo,)),
    Check(credentials.repeated_credential, (passing, guarded)),
    Check(paths.closed_path_tricks, (guarded,)),
    Check(paths.open_path_tricks, (guarded, open_path)),
    Check(paths.query_tricks, (guarded,)),
    Check(methods.other_methods, (guarded,)),
    Check(methods.reflecting_methods),
    Check(methods.method_override, (guarded,)),
    Check(methods.preflight, (guarded,)),
    Check(traces.forged_request, (guarded,)),
    Check(traces.forged_address, (echo,)),
    Check(traces.forged_origin, (echo,)),
    Check(hosts.host_confusion, (guarded,)),
    Check(hosts.judged_host, (passing, guarded)),
    Check(hosts.two_hosts, (passing,)),
    Check(messages.large_headers, (answering,)),
    Check(messages.announced_body, (guarded, answering)),
    Check(messages.websocket, (guarded,)),
    Check(messages.other_upgrades, (echo,)),
    Check(denials.denial_intact, (guarded,)),
    Check(denials.lockout, (passing, guarded, burst)),
)
"""Every check in the order in which it is made: the last one locks the tester's address out."""


async def examine(site: Site, skip: frozenset[str] = frozenset()) -> AsyncIterator[Outcome]:
    """The outcome of every check but those to skip, once it is over. `site.look()` comes first. Raises Unreachable."""
    for check in CHECKS:
        if check.name not in skip:
            yield await check.outcome(site)
