"""Keys as tests store them, and what tests look at."""

import os
from pathlib import Path
from typing import Any

from forwardauth.core.key_index import Row
from forwardauth.stores.sql import KeyStore, NewKey

ROOT = Path(__file__).parents[3]


def new_key(key_id: str, **fields: Any) -> NewKey:
    told = {"name": f"key {key_id}", "digest": os.urandom(32), "pepper": "", "created": 1000.0}
    return NewKey(key_id, **told | fields)


def secrets(store: KeyStore, since: int = 0) -> dict[bytes, Row]:
    """What a service reads after a revision, by digest: every digest once."""
    rows = [row for batch in store.changes(since) for row in batch]
    found = {row[0]: row for row in rows}
    assert len(found) == len(rows)
    return found


def everything(store: KeyStore) -> tuple[object, ...]:
    """All that a store tells: equal before and after what changed nothing."""
    return store.revision(), list(store.rows()), sorted(secrets(store).items())
