"""What a running service follows: nothing is missed, and nothing is read twice for nothing."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from forwardauth.core.key_index import Row
from forwardauth.stores.sql import Database, KeyStore, StoreError
from forwardauth.stores.sql.changes import current_revision, next_revision
from tests.stores.sql.building import ROOT, new_key, secrets


def test_every_change_has_a_later_revision(store: KeyStore) -> None:
    assert store.revision() == 0
    assert secrets(store) == {}
    changes = [
        lambda: store.create(new_key("a")),
        lambda: store.create(new_key("b")),
        lambda: store.rotate("a", b"x" * 32, "", 1.0, 2.0),
        lambda: store.disable("a"),
        lambda: store.enable("a"),
        lambda: store.expire("a", 9.0),
        lambda: store.revoke("a", 9.0),
        lambda: store.add_all([new_key("c"), new_key("d")]),
    ]
    touched = []
    for change in changes:
        before = store.revision()
        change()
        assert store.revision() == before + 1
        touched.append(sorted({row[1] for row in secrets(store, before).values()}))
        assert secrets(store, store.revision()) == {}
    assert touched == [["a"], ["b"], ["a"], ["a"], ["a"], ["a"], ["a"], ["c", "d"]]


def test_a_changed_key_tells_all_its_secrets(store: KeyStore) -> None:
    store.create(new_key("a", digest=b"a" * 32))
    store.create(new_key("b"))
    store.rotate("a", b"c" * 32, "", 1.0, 2.0)
    before = store.revision()
    store.disable("a")
    assert secrets(store, before).keys() == {b"a" * 32, b"c" * 32}


def test_changes_come_in_batches(store: KeyStore) -> None:
    store.add_all(new_key(f"k{number}") for number in range(25))
    batches = list(store.changes(0, batch=10))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert {type(row) for batch in batches for row in batch} == {tuple}
    assert [len(batch) for batch in store.changes(0, batch=25)] == [25]


def test_changes_are_one_view_whatever_happens_meanwhile(store: KeyStore) -> None:
    store.add_all(new_key(f"k{number}", digest=bytes([number]) * 32) for number in range(30))
    stream = store.changes(0, batch=1)
    rows = list(next(stream))
    store.rotate("k29", b"new" + b"!" * 29, "", 1.0, 2.0)
    store.create(new_key("late"))
    rows += [row for batch in stream for row in batch]
    assert [row[0] for row in rows] == [bytes([number]) * 32 for number in range(30)]
    assert b"new" + b"!" * 29 in secrets(store, 1)


def test_a_stream_may_be_left(store: KeyStore) -> None:
    store.add_all(new_key(f"k{number}") for number in range(30))
    for _ in range(20):
        changes, rows = store.changes(0, batch=1), store.rows()
        next(changes)
        next(rows)
        for stream in (changes, rows):
            assert isinstance(stream, Iterator)
            stream.close()  # type: ignore[attr-defined]
    assert len(list(store.rows())) == 30


def test_postgresql_hands_changes_over_by_a_cursor(server_url: str) -> None:
    """Without one the driver would hold a million rows before it shows the first."""
    with closing(Database.open(server_url, Path())) as database, psycopg.connect(server_url) as watching:
        store = KeyStore(database)
        store.add_all(new_key(f"k{number}") for number in range(30))
        stream = store.changes(0, batch=7)
        next(stream)
        (said,) = watching.execute(
            "SELECT query FROM pg_stat_activity WHERE application_name = 'forwardauth' AND state <> 'idle'"
        ).fetchone() or ("",)
        assert said.startswith("FETCH FORWARD 7 ")
        assert sum(map(len, stream)) == 23


class Follower:
    """What a service does, over and over: the revision, then the changes since the last one."""

    def __init__(self, store: KeyStore) -> None:
        self.known: dict[bytes, Row] = {}
        self.revisions: list[int] = [0]
        self._store = store

    def look(self) -> None:
        revision = self._store.revision()
        if revision > self.revisions[-1]:
            self.known |= secrets(self._store, self.revisions[-1])
            self.revisions.append(revision)


def test_threads_that_write_lose_nothing_and_hide_nothing(store: KeyStore) -> None:
    follower = Follower(store)

    def write(writer: int) -> None:
        for number in range(20):
            store.create(new_key(f"w{writer}-{number}"))

    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(write, writer) for writer in range(4)]
        while not all(future.done() for future in writing):
            follower.look()
        for future in writing:
            future.result()
    follower.look()
    assert follower.known == secrets(store)
    assert len(follower.known) == follower.revisions[-1] == 80
    assert follower.revisions == sorted(set(follower.revisions))


def test_processes_that_write_lose_nothing_and_hide_nothing(url: str, store: KeyStore) -> None:
    follower = Follower(store)
    command = [sys.executable, "-m", "tests.stores.sql.writer", "create", "--times", "25"]
    with (
        subprocess.Popen([*command, url], cwd=ROOT, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen([*command, url], cwd=ROOT, stdout=subprocess.PIPE, text=True) as other,
    ):
        while one.poll() is None or other.poll() is None:
            follower.look()
        assert one.stdout is not None
        assert other.stdout is not None
        told = one.stdout.read().split() + other.stdout.read().split()
    follower.look()
    assert len(told) == 50
    assert {row.id for row in store.rows()} == set(told)
    assert follower.known == secrets(store)
    assert follower.revisions[-1] == 50


def test_rotations_that_cross_each_other_lose_no_secret(store: KeyStore) -> None:
    store.create(new_key("a"))
    with ThreadPoolExecutor(4) as threads:
        digests = [bytes([number]) * 32 for number in range(40)]
        list(threads.map(lambda digest: store.rotate("a", digest, "", 1.0, 2.0), digests))
    told = secrets(store)
    assert len(told) == 41
    assert told.keys() >= set(digests)
    assert [row[4] for row in told.values()].count(None) == 1


def test_a_writer_waits_for_the_one_before_it(url: str, database: Database, store: KeyStore) -> None:
    """Otherwise a later revision could come into sight first, and whoever follows would miss the earlier one."""
    with closing(Database.open(url, Path(), wait=0.2)) as second:
        other = KeyStore(second)
        with database.writing() as connection:
            next_revision(connection)
            assert other.revision() == 0
            for write in (lambda: other.create(new_key("b")), lambda: other.add_all([new_key("b")])):
                with pytest.raises(StoreError, match="was locked by another writer for too long: nothing was changed"):
                    write()
        assert store.revision() == 1
        assert other.create(new_key("b")).id == "b"
        assert store.revision() == 2


def test_a_writer_of_a_file_shuts_others_out_before_it_looks(file_url: str) -> None:
    """SQLite fails whoever looks first and writes later, if another one wrote in between."""
    with closing(Database.open(file_url, Path(), wait=0.2)) as database:
        store = KeyStore(database)
        with database.writing() as connection:
            assert current_revision(connection) == 0
            with pytest.raises(StoreError, match="was locked by another writer"):
                store.create(new_key("a"))
            assert next_revision(connection) == 1
        assert store.revision() == 1


def test_services_that_note_uses_crosswise_do_not_wait_for_each_other_for_ever(store: KeyStore) -> None:
    names = [f"k{number}" for number in range(400)]
    store.add_all(new_key(name) for name in names)
    orders = (names, names[::-1])
    with ThreadPoolExecutor(2) as threads:
        for at in range(10):
            uses = [dict.fromkeys(order, float(2 * at + turn)) for turn, order in enumerate(orders)]
            list(threads.map(store.note_uses, uses))
    assert {row.last_used for row in store.rows()} == {19.0}
