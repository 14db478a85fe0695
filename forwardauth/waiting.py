"""The waiting line of slow checks: bounded, and one at a time for each client. Knows no request and no credential.

A hash takes a processor for up to a second, so a stranger must not be able to queue many: the line holds at most 64
checks, 16 of them of one client, and a client's checks run one after the other, so that each is decided with the
failures of those before it. Requests that wait for the same check take one place together.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHECKS = 64
CHECKS_PER_CLIENT = 16


class LineFullError(Exception):
    """There is no place in the line."""


class WaitingLine:
    """Places by client and check."""

    def __init__(self, checks: int = CHECKS, per_client: int = CHECKS_PER_CLIENT) -> None:
        self._checks = checks
        self._per_client = per_client
        self._waiting: dict[bytes, dict[bytes, int]] = {}
        self._turns: dict[bytes, asyncio.Lock] = {}

    @asynccontextmanager
    async def turn(self, client: bytes, check: bytes) -> AsyncIterator[None]:
        """Wait until this client's earlier checks are settled. Raises LineFullError at once if there is no place."""
        mine = self._waiting.get(client, {})
        if check not in mine and (len(mine) >= self._per_client or len(self) >= self._checks):
            raise LineFullError
        self._waiting[client] = mine
        mine[check] = mine.get(check, 0) + 1
        try:
            async with self._turns.setdefault(client, asyncio.Lock()):
                yield
        finally:
            mine[check] -= 1
            if not mine[check]:
                del mine[check]
            if not mine:
                del self._waiting[client], self._turns[client]

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))
