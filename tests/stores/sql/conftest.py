"""Every test of the contract runs on both engines: a SQLite file, and a database of a PostgreSQL that runs here."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from forwardauth.stores.sql import Database, KeyStore
from tests.stores.sql.cluster import HOW_TO_GET, Cluster, programs


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    binaries = programs()
    if binaries is None:
        pytest.skip(HOW_TO_GET)
    running = Cluster(binaries)
    yield running
    running.remove()


@pytest.fixture
def server_url(cluster: Cluster) -> str:
    return cluster.empty()


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'keys.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("file_url" if request.param == "sqlite" else "server_url"))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with closing(Database.open(url, Path())) as opened:
        yield opened


@pytest.fixture
def store(database: Database) -> KeyStore:
    return KeyStore(database)


@pytest.fixture(scope="session", autouse=True)
def _somebody_elses_settings() -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
