"""The index follows its database: at once where it is told, soon where nobody tells it, and through its failures."""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from forwardauth.core.key_index import REVOKED, KeyIndex, Uses
from forwardauth.core.keys import KeyFormat, digest
from forwardauth.stores import following
from forwardauth.stores.following import KeyFollower
from forwardauth.stores.sql import Database, KeyStore, NewKey, StoreError

FORMAT = KeyFormat("fa_")


def new_key(scopes: str = "[]") -> tuple[str, NewKey]:
    minted = FORMAT.mint(secrets.randbelow)
    return minted.key, NewKey(minted.id, "one", digest(minted.key.encode()), "", time.time(), scopes=scopes)


class Bench:
    """A database, another process's view of it, and what a service knows of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.other = self.open()
        self.index = KeyIndex()
        self.uses = Uses()
        self.follower = KeyFollower(self.open, self.index, self.uses)

    def open(self) -> KeyStore:
        return KeyStore(Database.open("sqlite:///keys.db", self.folder))

    def state(self, key: str) -> int | None:
        packed = self.index.find(digest(key.encode()))
        return None if packed is None else self.index.unpack(packed).state


async def until(true: Callable[[], bool]) -> None:
    """Wait for something, at most ten seconds."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.02)


@asynccontextmanager
async def following_in(folder: Path, *keys: NewKey) -> AsyncIterator[Bench]:
    bench = Bench(folder)
    for key in keys:
        bench.other.create(key)
    await bench.follower.start()
    try:
        yield bench
    finally:
        await bench.follower.stop()
        bench.other.close()


async def test_every_key_is_known_once_it_started_and_not_before(tmp_path: Path) -> None:
    key, row = new_key()
    bench = Bench(tmp_path)
    bench.other.create(row)
    assert not bench.index.ready
    await bench.follower.start()
    assert bench.index.ready
    assert bench.state(key) == 0
    assert bench.follower.counts["active"] == 1
    await bench.follower.stop()
    bench.other.close()


async def test_a_change_is_in_force_when_the_refresh_returns(tmp_path: Path) -> None:
    key, row = new_key()
    async with following_in(tmp_path, row) as bench:
        later, more = new_key()
        bench.other.create(more)
        bench.other.revoke(row.id, time.time())
        assert bench.state(later) is None
        revision = await bench.follower.refresh()
        assert (bench.state(key), bench.state(later)) == (REVOKED, 0)
        assert revision == bench.other.revision()


async def test_keys_are_counted_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    _, row = new_key()
    async with following_in(tmp_path, row) as bench:
        assert bench.follower.counts["active"] == 1
        bench.other.create(new_key()[1])
        bench.other.revoke(row.id, time.time())
        await until(lambda: (bench.follower.counts["active"], bench.follower.counts["revoked"]) == (1, 1))


async def test_a_change_of_another_process_is_seen_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    key, row = new_key()
    async with following_in(tmp_path, row) as bench:
        bench.other.revoke(row.id, time.time())
        await until(lambda: bench.state(key) == REVOKED)


async def test_an_earlier_state_of_the_database_takes_later_keys_away(tmp_path: Path) -> None:
    """A backup was put back under a running PostgreSQL: keys that it does not know must not go on working."""
    key, row = new_key()
    async with following_in(tmp_path, row) as bench:
        later, more = new_key()
        bench.other.create(more)
        await bench.follower.refresh()
        assert bench.state(later) == 0
        earlier = KeyStore(Database.open("sqlite:///earlier.db", tmp_path))
        earlier.create(row)
        bench.follower._store, closing = earlier, bench.follower._store
        await bench.follower.refresh()
        assert (bench.state(key), bench.state(later)) == (0, None)
        assert closing is not None
        closing.close()


async def test_the_last_uses_are_written_when_it_ends(tmp_path: Path) -> None:
    _, row = new_key()
    bench = Bench(tmp_path)
    bench.other.create(row)
    await bench.follower.start()
    bench.uses.note(row.id, 1_800_000_000.0)
    await bench.follower.stop()
    assert bench.other.get(row.id).last_used == 1_800_000_000.0
    bench.other.close()


async def test_uses_are_written_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(following, "WRITE_SECONDS", 0.05)
    _, row = new_key()
    async with following_in(tmp_path, row) as bench:
        bench.uses.note(row.id, 1_800_000_000.0)
        await until(lambda: bench.other.get(row.id).last_used == 1_800_000_000.0)


async def test_a_database_that_fails_takes_nothing_back_and_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(following, "WRITE_SECONDS", 0.05)
    key, row = new_key()
    async with following_in(tmp_path, row) as bench:
        store = bench.follower._store
        assert store is not None
        healthy, broken = store.revision, True

        def revision() -> int:
            if broken:
                raise StoreError("the database is away")
            return healthy()

        monkeypatch.setattr(store, "revision", revision)
        bench.uses.note(row.id, 1_800_000_000.0)
        await until(lambda: not bench.follower.reachable)
        await asyncio.sleep(0.1)
        assert bench.state(key) == 0
        assert caplog.text.count("cannot be read") == 1, "told once"
        bench.other.revoke(row.id, time.time())
        broken = False
        await until(lambda: bench.state(key) == REVOKED)
        await until(lambda: bench.follower.reachable)


async def test_a_key_with_scopes_that_nobody_can_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, row = new_key(scopes='[{"path": 7}]')
    with caplog.at_level(logging.ERROR):
        async with following_in(tmp_path, row) as bench:
            packed = bench.index.find(row.digest)
            assert packed is not None
    assert row.id in caplog.text


async def test_what_cannot_be_opened_is_raised_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_text("no database at all, but a text of some length" * 20)
    follower = KeyFollower(lambda: KeyStore(Database.open("sqlite:///keys.db", tmp_path)), KeyIndex(), Uses())
    with pytest.raises(StoreError):
        await follower.start()
    await follower.stop()


async def test_a_database_that_hangs_is_not_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is frozen refuses nothing: no call ever ends, and no error says so."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(following, "SILENT_SECONDS", 0.2)
    async with following_in(tmp_path) as bench:
        store, thawed = bench.follower._store, threading.Event()
        assert store is not None
        healthy = store.revision
        monkeypatch.setattr(store, "revision", lambda: thawed.wait(10) and healthy())
        await until(lambda: not bench.follower.reachable)
        thawed.set()
        await until(lambda: bench.follower.reachable)


async def test_a_key_that_expires_by_itself_is_counted_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(following, "WRITE_SECONDS", 0.05)
    _, row = new_key()
    async with following_in(tmp_path, replace(row, expires=time.time() + 0.5)) as bench:
        await until(lambda: bench.follower.counts["expired"] == 1)


async def test_a_database_that_hangs_lets_the_service_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "STOP_SECONDS", 0.1)
    bench, thawed = Bench(tmp_path), threading.Event()
    await bench.follower.start()
    store = bench.follower._store
    assert store is not None
    monkeypatch.setattr(store, "note_uses", lambda uses: thawed.wait(10))
    bench.uses.note("a", 1.0)
    try:
        async with asyncio.timeout(5):
            await bench.follower.stop()
        assert "does not answer" in caplog.text
    finally:
        thawed.set()
        store.close()
        bench.other.close()
