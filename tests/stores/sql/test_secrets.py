"""Nothing that a store prints, logs or raises holds a digest, or the password of its URL."""

import logging
import traceback
from contextlib import closing, suppress
from pathlib import Path

import pytest

from forwardauth.stores.sql import Database, KeyStore, StoreError
from tests.stores.sql.building import new_key
from tests.stores.sql.cluster import PASSWORD, Cluster

DIGEST = b"0123456789abcdefghijklmnopqrstuv"
FORMS = (DIGEST.decode(), DIGEST.hex(), DIGEST.hex().upper(), PASSWORD, PASSWORD[:8])


def _silent(text: str) -> None:
    assert [form for form in FORMS if form in text] == []


def test_no_repr_shows_a_digest_or_a_password(database: Database, store: KeyStore) -> None:
    key = new_key("a", digest=DIGEST)
    row = store.create(key)
    for shown in (key, row, store, database, database.place, database._engine, store.rotate("a", b"x" * 32, "", 1, 2)):
        _silent(repr(shown) + str(shown))


def test_no_log_shows_a_digest_or_a_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), closing(Database.open(url, Path())) as database:
        # SQLAlchemy asks once, when the engine is made.
        database._engine.echo = "debug"
        store = KeyStore(database)
        store.create(new_key("a", digest=DIGEST))
        store.rotate("a", b"x" * 32, "", 1.0, 2.0)
        store.add_all([new_key("b", digest=b"y" * 32)])
        with suppress(StoreError):
            store.create(new_key("c", digest=DIGEST))
        with suppress(StoreError):
            store.add_all([new_key("c", digest=DIGEST)])
        database._engine.echo = False
    statements = [record for record in caplog.records if record.name.startswith("sqlalchemy.engine")]
    assert any("INSERT INTO keys" in record.getMessage() for record in statements)
    _silent("".join(record.getMessage() for record in caplog.records))


def test_no_error_shows_a_digest(url: str, database: Database, store: KeyStore) -> None:
    store.create(new_key("a", digest=DIGEST))
    with closing(Database.open(url, Path(), wait=0.1)) as second, database.writing() as connection:
        connection.exec_driver_sql("UPDATE revision SET number = number")
        other = KeyStore(second)
        for write in (
            lambda: other.create(new_key("b", digest=DIGEST[::-1])),
            lambda: other.add_all([new_key("b", digest=DIGEST[::-1])]),
            lambda: other.rotate("a", DIGEST[::-1], "", 1.0, 2.0),
        ):
            with pytest.raises(StoreError) as refused:
                write()
            told = "".join(traceback.format_exception(refused.value))
            assert "locked" in told
            _silent(told)
            assert DIGEST[::-1].decode() not in told
    for write in (
        lambda: store.create(new_key("b", digest=DIGEST)),
        lambda: store.add_all([new_key("b", digest=DIGEST)]),
        lambda: store.rotate("a", DIGEST, "", 1.0, 2.0),
        lambda: store.get(DIGEST.decode()),
    ):
        with pytest.raises(StoreError) as refused:
            write()
        _silent("".join(traceback.format_exception(refused.value)))


def test_what_the_engine_itself_refuses_shows_no_digest(database: Database, store: KeyStore) -> None:
    """PostgreSQL repeats the value in the detail of its error, SQLAlchemy the statement's parameters."""
    from sqlalchemy import text

    store.create(new_key("a", digest=DIGEST))
    copied = (
        "INSERT INTO keys SELECT 99, 'b', name, owner, tenant, :digest, pepper, created, expires, disabled, revoked,"
    )

    def write() -> None:
        with database.writing() as connection:
            statement = text(copied + " scopes, rate, metadata, last_used, revision FROM keys")
            connection.execute(statement, {"digest": DIGEST})

    with pytest.raises(StoreError, match="refused: ") as refused:
        write()
    _silent("".join(traceback.format_exception(refused.value)))


def test_no_error_shows_the_password(cluster: Cluster, server_url: str) -> None:
    wrong = server_url.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1") + "?nonsense=1"
    for url in (server_url.replace("/postgres", "/nosuch"), server_url.replace("owner", "nobody"), wrong):
        with pytest.raises(StoreError) as refused:
            Database.open(url, Path())
        _silent("".join(traceback.format_exception(refused.value)))
    with closing(Database.open(server_url, Path())) as database:
        store = KeyStore(database)
        cluster.stop()
        try:
            with pytest.raises(StoreError) as refused:
                store.revision()
        finally:
            cluster.start()
        _silent("".join(traceback.format_exception(refused.value)))
