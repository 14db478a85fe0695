from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Client
from tests.deploy.rig.deployment import Deploy, Deployment, Sources
from tests.deploy.rig.gateways import GATEWAYS, Gateway
from tests.deploy.rig.service import Setup


@pytest.fixture(scope="session")
def sources() -> Sources:
    return Sources()


@pytest.fixture(scope="session")
def running_backend() -> Iterator[Backend]:
    backend = Backend()
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def backend(running_backend: Backend) -> Backend:
    """The backend, having seen nothing yet."""
    running_backend.seen.clear()
    running_backend.go_on.clear()
    return running_backend


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory, running_backend: Backend, sources: Sources) -> Iterator[Deploy]:
    """Deployments by (gateway, setup, hosts), each started once a module and kept until its end."""
    running: dict[tuple[type[Gateway], Setup, tuple[str, ...]], Deployment] = {}

    def get(gateway: str | type[Gateway], setup: Setup, hosts: Sequence[str] = (HOST,)) -> Deployment:
        kind = GATEWAYS[gateway] if isinstance(gateway, str) else gateway
        key = (kind, setup, tuple(hosts))
        if key not in running:
            folder = tmp_path_factory.mktemp(kind.name)
            running[key] = Deployment.start(kind, setup, folder, running_backend, sources, tuple(hosts))
            running_backend.seen.clear()  # a gateway counts as ready once a request has passed it
        return running[key]

    with ExitStack() as stack:
        yield get
        for deployment in running.values():
            stack.callback(deployment.stop)


@pytest.fixture
def client(site: Deployment) -> Client:
    """A client of the test's `site`; tests with several clients ask `site.client()` for more."""
    return site.client()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for found in getattr(item, "funcargs", {}).values():
            if isinstance(found, Deployment):
                report.sections += found.logs()
    return report
