from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.conformance.case import Case
from tests.deploy.conformance.summary import COUNTED
from tests.deploy.conformance.way import Way
from tests.deploy.rig.backend import Backend
from tests.deploy.rig.deployment import Deployment, Sources

# It holds tests, but is no file of tests: without this its failures would not show what they compared.
pytest.register_assert_rewrite("tests.deploy.conformance.suite")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Says in the report of each case which way it is about, for the line at the end of a run."""
    if isinstance(item, pytest.Function) and item.originalname == "test_follows_the_table":
        item.user_properties.append((COUNTED, item.cls.gateway))


@pytest.fixture(scope="class")
def way(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    running_backend: Backend,
    sources: Sources,
) -> Iterator[Way]:
    """The way of the test's class, with whatever it started for the cases so far."""
    name = request.cls.gateway
    with Way.open(name, tmp_path_factory.mktemp(name), running_backend, sources) as opened:
        yield opened


@pytest.fixture
def site(way: Way, case: Case) -> Deployment:
    """Where the case is sent: after a failure, its logs are shown."""
    return way.site(case.situation)
