"""A process is killed while it writes, over and over: the old or the new state, and nothing lost that it reported."""

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from forwardauth.stores.sql import Database, KeyStore
from tests.stores.sql.building import ROOT, new_key, secrets
from tests.stores.sql.writer import BATCH

TIMES = 6
"""Kills of each test, all of the same database: each writer begins with what the one before it left."""


def _killed(what: str, url: str, seed: int, longest: float = 0.03) -> list[str]:
    """What a writer reported until SIGKILL met it, somewhere within a write."""
    chance = random.Random(seed)
    command = [sys.executable, "-m", "tests.stores.sql.writer", what, url]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        if what == "open":
            assert writer.stdout.readline() == "ready\n"
            writer.stdin.write("go\n")
            writer.stdin.flush()
            told = []
        else:
            told = [writer.stdout.readline().strip() for _ in range(chance.randrange(1, 4))]
        time.sleep(chance.random() * longest)
        writer.kill()
        told += writer.stdout.read().split()
    assert writer.returncode == -9
    return told


def _intact(url: str) -> None:
    """The database is sound, and nobody writes any more."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert file.execute("PRAGMA foreign_key_check").fetchall() == []
        return
    with psycopg.connect(url, autocommit=True) as connection:
        end = time.monotonic() + 30
        # The server finishes what it was told before it sees that nobody is there any more.
        while connection.execute(
            "SELECT FROM pg_stat_activity WHERE application_name = 'forwardauth' AND state <> 'idle'"
        ).fetchall():
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_kill_during_creation(url: str, store: KeyStore) -> None:
    told: set[str] = set()
    for seed in range(TIMES):
        reported = _killed("create", url, seed)
        assert reported
        told.update(reported)
        _intact(url)
        there = {row.id for row in store.rows()}
        assert told <= there
        # The last one may have been stored and not yet reported; and no revision is spent on half a key.
        assert len(there - told) <= 1
        assert len(there) == len(secrets(store)) == store.revision()
        told = there


def test_a_kill_during_rotation(url: str, store: KeyStore) -> None:
    first = new_key("rotated")
    store.create(first)
    told = {first.digest}
    for seed in range(TIMES):
        reported = _killed("rotate", url, seed)
        assert reported
        told.update(map(bytes.fromhex, reported))
        _intact(url)
        there = secrets(store)
        assert told <= there.keys()
        assert len(there.keys() - told) <= 1
        assert len(there) == store.revision()
        # However it was met, one secret is the present one, and it is the last.
        (present,) = (digest for digest, row in there.items() if row[4] is None)
        assert present == bytes.fromhex(reported[-1]) or present not in told
        told = set(there)


def test_a_kill_during_import(url: str, store: KeyStore) -> None:
    told: set[str] = set()
    for seed in range(TIMES):
        reported = _killed("import", url, seed)
        assert reported
        told.update(reported)
        _intact(url)
        owners = [row.owner for row in store.rows()]
        there = set(owners)
        assert told <= there
        assert len(there - told) <= 1
        assert {owners.count(owner) for owner in there} == {BATCH}
        assert store.revision() == len(there)
        told = there


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_kill_while_the_tables_are_made(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for seed in range(TIMES):
        file = f"sqlite:///{tmp_path}/{seed}.db"
        url = file if engine == "sqlite" else request.getfixturevalue("cluster").empty()
        _killed("open", url, seed, longest=0.2)
        _intact(url)
        with closing(Database.open(url, Path())) as database:
            store = KeyStore(database)
            assert store.create(new_key("a")).id == "a"
            assert store.revision() == len(list(store.rows()))
