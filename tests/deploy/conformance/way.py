"""One way to put a gateway before the service: started once for each situation, and asked every case once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.deployment import Deployment, Sources
from tests.deploy.rig.gateways import GATEWAYS, Gateway
from tests.deploy.rig.gateways.caddy import CaddyTls

from . import page
from .case import Case, Outcome, differences
from .sending import sent
from .situations import Situation

ENCRYPTED: dict[str, type[Gateway]] = {"caddy": CaddyTls}
"""Gateways that the rig starts in another way for TLS. The others serve it on their second port, or not at all."""


class Way:
    """A gateway of the registry by its name. `folder` is where its files go, `stack` ends what was started."""

    def __init__(self, name: str, folder: Path, backend: Backend, sources: Sources, stack: ExitStack) -> None:
        self.name = name
        self._folder = folder
        self._backend = backend
        self._sources = sources
        self._stack = stack
        self._sites: dict[Situation, Deployment | Exception] = {}
        self._outcomes: dict[str, Outcome] = {}

    @classmethod
    @contextmanager
    def open(cls, name: str, folder: Path, backend: Backend, sources: Sources) -> Iterator[Way]:
        """The way, and nothing of it left behind."""
        with ExitStack() as stack:
            yield cls(name, folder, backend, sources, stack)

    def site(self, situation: Situation) -> Deployment:
        """The gateway in this situation, started at the first call. Where it did not start, no case waits again."""
        if situation not in self._sites:
            try:
                self._sites[situation] = self._started(situation)
            except Exception as failure:
                self._sites[situation] = failure
        site = self._sites[situation]
        if isinstance(site, Exception):
            raise site
        return site

    def _started(self, situation: Situation) -> Deployment:
        kind = GATEWAYS[self.name]
        if situation.encrypted:
            kind = ENCRYPTED.get(self.name, kind)
        folder = self._folder / str(len(self._sites))
        site = Deployment.start(kind, situation.setup, folder, self._backend, self._sources, situation.hosts)
        self._stack.callback(site.stop)
        if not situation.service_runs:
            site.service.stop()
        return site

    def outcome(self, case: Case) -> Outcome:
        """What follows from the case; it is sent at the first call, for limits count and clients are remembered."""
        if case.name not in self._outcomes:
            self._outcomes[case.name] = sent(self.site(case.situation), case)
        return self._outcomes[case.name]

    def differences(self, case: Case) -> list[str]:
        """In what this way is not as the table says."""
        return differences(case, case.expected(self.name), self.outcome(case))

    def conforms(self, case: Case) -> bool:
        """Whether its client gets what every client gets, no exception made."""
        return not differences(case, case.expect, self.outcome(case))

    def cell(self, case: Case) -> str:
        """What the page has to show for this case: a mark, the exception that the table states, or what was seen."""
        if self.conforms(case):
            return page.SAME
        return page.stated(case, self.name) if not self.differences(case) else f"differs: {self.outcome(case)}"
