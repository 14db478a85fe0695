"""What only PostgreSQL needs: its connection's settings. Knows no table."""

from collections.abc import Iterator

from sqlalchemy import URL, Connection, Engine, create_engine, event

from forwardauth.stores.sql.errors import StoreError

_OPENING = 0x666F_7277_6172_64
"""The advisory lock of whoever looks whether the schema is the newest."""

_STATEMENT_SECONDS = 60

# https://www.postgresql.org/docs/current/libpq-connect.html: a server that vanished is noticed within a minute.
_CONNECTION = {
    "connect_timeout": "5",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "45000",
    "application_name": "forwardauth",
}


def open_engine(url: URL, wait: float) -> Engine:
    """The engine of a server. What the URL's query says about the connection holds. `wait` is in seconds, for locks."""
    url = url.set(drivername="postgresql+psycopg")
    chosen = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    try:
        engine = create_engine(
            url,
            # A connection pool in front of the server (pgbouncer) keeps no prepared statement for us.
            connect_args=chosen | {"client_encoding": "utf8", "prepare_threshold": None},
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            # The first call after a restart of the server finds that out before it begins.
            pool_pre_ping=True,
        )
    except ImportError:
        raise StoreError("PostgreSQL needs psycopg: pip install 'psycopg[binary]'") from None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        seconds = connection.get_execution_options().get("statement_seconds", _STATEMENT_SECONDS)
        connection.exec_driver_sql(
            f"SET LOCAL lock_timeout = {int(wait * 1000)}; SET LOCAL statement_timeout = '{seconds}s'"
        )

    return engine


def wait_to_migrate(connection: Connection) -> None:
    """Let one after the other look whether the schema is the newest; until the transaction ends."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_OPENING})")


def prepare_import(connection: Connection) -> None:
    """Settings of a connection that is thrown away after one large transaction."""
    connection.execution_options(statement_seconds=0)


def copy_rows(connection: Connection, table: str, batches: Iterator[list[tuple[object, ...]]]) -> None:
    """Insert rows into an empty table, as they come, by COPY."""
    cursor = connection.connection.cursor()
    with cursor.copy(f"COPY {table} FROM STDIN") as copy:
        for batch in batches:
            for row in batch:
                copy.write_row(row)
    cursor.close()
