"""The database of a configuration, while a command works on its keys. Knows how its failures end the command."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from forwardauth.cli.mistakes import end
from forwardauth.config.load import Configuration
from forwardauth.core.key_index import KeyIndex
from forwardauth.core.keys import is_id

if TYPE_CHECKING:
    from forwardauth.stores.sql import KeyRow, KeyStore


@dataclass(slots=True)
class Keys:
    """The keys of a configuration's database, while a command works on them."""

    configuration: Configuration
    store: "KeyStore"

    def row(self, key_id: str) -> "KeyRow":
        """One key; an id that is unknown, or that is none, ends the command."""
        if not is_id(key_id):
            end("expected the id of a key, as `forwardauth keys list` shows it; it stands in the key behind its prefix")
        return self.store.get(key_id)


@contextmanager
def opened(configuration: Configuration) -> Iterator[Keys]:
    """The keys of its database; whatever is wrong with the database ends the command with its sentence."""
    url = configuration.snapshot.settings.database
    if not url:
        end(f"{configuration.source} names no database: add `database: sqlite:///data/forwardauth.db`, for example")
    sql = _sql()
    try:
        database = sql.Database.open(url, configuration.folder)
        try:
            yield Keys(configuration, sql.KeyStore(database))
        finally:
            database.close()
    except sql.StoreError as failure:
        end(str(failure))


def load_keys(configuration: Configuration, index: KeyIndex) -> None:
    """Fill an index with every key of the database, as the service does when it starts; no file is made for it."""
    url = configuration.snapshot.settings.database
    if url and _sql().Database.is_made(url, configuration.folder):
        with opened(configuration) as keys:
            for rows in keys.store.changes(0):
                index.merge(index.pack(rows))
    index.ready = True


def _sql() -> ModuleType:
    # Imported here: no other command needs a database, and all of them would start slower.
    try:
        from forwardauth.stores import sql
    except ModuleNotFoundError as missing:
        end(f"the database needs {missing.name}: pip install 'forwardauth[database]'")
    return sql
