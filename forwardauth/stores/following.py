"""Keeps the index of keys as their database has it, and writes down when keys were used. Knows one store, no request.

Every call of the database runs in one thread of its own, so that no decision waits for it: a million rows by one
synchronous thread take a tenth of what an asynchronous driver takes, which hands them over one by one.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from forwardauth.core.key_index import KeyIndex, Uses

if TYPE_CHECKING:
    from forwardauth.stores.sql import KeyStore

log = logging.getLogger("forwardauth")

T = TypeVar("T")

POLL_SECONDS = 0.5
"""What another process changed is in force within a second: half of it to see the change, the rest to read it."""

WRITE_SECONDS = 30.0

SILENT_SECONDS = 30.0
"""Longer than a million keys take to be read."""

STOP_SECONDS = 5.0
"""A database that hangs must not keep the service from ending, and its last audit lines from being written."""

COUNTING_SHARE = 0.005
"""Of the time: counting a million keys takes half a second of the core that decides."""


class KeyFollower:
    """Follows one database. `open_store` opens it, in the thread that belongs to it from then on."""

    def __init__(self, open_store: "Callable[[], KeyStore]", index: KeyIndex, uses: Uses) -> None:
        self.counts: dict[str, int] = {}
        self._open_store = open_store
        self._index = index
        self._uses = uses
        self._revision = 0
        self._counted = self._counting = 0.0
        self._counted_revision = 0
        self._told_reachable = False
        self._looked = 0.0
        self._store: KeyStore | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._turn = asyncio.Lock()
        self._polling: asyncio.Task[None] | None = None

    @property
    def reachable(self) -> bool:
        """Whether the database answers: a server that hangs says nothing at all."""
        return self._told_reachable and time.monotonic() - self._looked < SILENT_SECONDS

    async def start(self) -> None:
        """Open the database, load every key, and follow it from then on. Raises what opening raises."""
        self._store = await self._call(self._open_store)
        await self.refresh()
        await self._count()
        self._index.ready = True
        self._tell(reachable=True)
        self._polling = asyncio.create_task(self._poll())

    async def refresh(self) -> int:
        """Take what changed since the last look; returns its revision once it is in force. Raises StoreError."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            before = self._revision

            def read() -> int:
                store = self._opened()
                revision = store.revision()
                if revision > before:
                    for rows in store.changes(before):
                        loop.call_soon_threadsafe(self._index.merge, self._index.pack(rows))
                elif revision < before:
                    # The database was put back to an earlier state: what it does not know any more must go.
                    packed: dict[bytes, bytes] = {}
                    for rows in store.changes(0):
                        packed |= self._index.pack(rows)
                    loop.call_soon_threadsafe(self._index.replace, packed)
                return revision

            self._revision = await self._call(read)
            self._looked = time.monotonic()
            self._tell_unreadable()
            return self._revision

    async def stop(self) -> None:
        """Write down the last uses and close the database."""
        if self._polling is not None:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling
        try:
            async with asyncio.timeout(STOP_SECONDS):
                if self._store is not None:
                    await self._write_uses()
                    await self._call(self._store.close)
        except TimeoutError:
            log.warning("the database of keys does not answer: when keys were last used is not written")
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _poll(self) -> None:
        written = time.monotonic()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
                if time.monotonic() - written >= WRITE_SECONDS:
                    written = time.monotonic()
                    await self._write_uses()
                if self._is_count_due(time.monotonic()):
                    await self._count()
                self._tell(reachable=True)
            except Exception as failure:
                # The keys that are known stay in force; what changes meanwhile is taken at the next look that succeeds.
                self._tell(reachable=False, failure=failure)

    def _is_count_due(self, now: float) -> bool:
        """After a change, or a while, as keys expire by themselves; the longer it takes, the later."""
        changed = self._counted_revision != self._revision
        return now >= self._counted + self._counting / COUNTING_SHARE and (
            changed or now >= self._counted + WRITE_SECONDS
        )

    async def _count(self) -> None:
        """Count the keys by state."""
        began, revision = time.monotonic(), self._revision
        self.counts = await self._call(lambda: self._opened().counts(time.time()))
        self._counted, self._counted_revision = time.monotonic(), revision
        self._counting = self._counted - began

    async def _write_uses(self) -> None:
        taken = self._uses.take()
        if not taken:
            return
        try:
            await self._call(lambda: self._opened().note_uses(taken))
        except Exception as failure:
            self._uses.give_back(taken)
            log.warning("when keys were last used cannot be written now: %s", failure)

    def _opened(self) -> "KeyStore":
        assert self._store is not None
        return self._store

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _tell(self, reachable: bool, failure: Exception | None = None) -> None:
        if not reachable and self._told_reachable:
            log.error("the database of keys cannot be read, the keys that are known stay in force: %s", failure)
        elif reachable and not self._told_reachable:
            log.info("the database of keys has %d keys", sum(self.counts.values()))
        self._told_reachable = reachable

    def _tell_unreadable(self) -> None:
        if self._index.unreadable:
            log.error("keys whose scopes or rate are unreadable may do nothing: %s", ", ".join(self._index.unreadable))
            self._index.unreadable.clear()
