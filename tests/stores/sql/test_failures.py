"""What goes wrong around a database is told in a sentence, and nothing is lost by it."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, text

from forwardauth.stores.sql import Database, KeyStore, StoreError
from forwardauth.stores.sql.errors import told
from tests.stores.sql.building import ROOT, everything, new_key
from tests.stores.sql.cluster import Cluster

NOTHING_CHANGED = "nothing was changed"


def _refusal(store: KeyStore, write: Callable[[], object], times: int = 1) -> str:
    """What is said when a write fails, at the latest the last time; it has changed nothing then."""
    for _ in range(times):
        before = everything(store)
        try:
            write()
        except StoreError as failure:
            said = str(failure)
            break
    else:
        pytest.fail("it was written")
    assert everything(store) == before
    return said


WRITES: dict[str, Callable[[KeyStore], object]] = {
    "create": lambda store: store.create(new_key(os.urandom(4).hex(), metadata="x" * 2000)),
    "import": lambda store: store.add_all(new_key(f"k{number}", metadata="x" * 2000) for number in range(100)),
    "rotate": lambda store: store.rotate("a", os.urandom(32), "", 1.0, 2.0),
}


# Full disks.


@contextmanager
def _no_page_more(database: Database) -> Iterator[None]:
    """A file that may not grow: SQLite says of it what it says of a full disk."""

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 1").close()

    event.listen(database._engine, "connect", limit)
    database.close()
    yield
    event.remove(database._engine, "connect", limit)
    database.close()


@pytest.mark.parametrize("write", WRITES)
def test_a_full_disk_is_told_and_loses_nothing(file_url: str, write: str) -> None:
    with closing(Database.open(file_url, Path())) as database:
        store = KeyStore(database)
        store.create(new_key("a"))
        with _no_page_more(database):
            said = _refusal(store, lambda: WRITES[write](store), times=200)
        assert said.endswith("keys.db has no room, its disk is full: nothing was changed; free space and try again")
        before = store.revision()
        WRITES[write](store)
        assert store.revision() == before + 1


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A disk of 3 MB, where this user may mount one; whether it could."""
    mounting = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mounting, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("disk", ["small disk", "small file"])
def test_a_process_on_a_full_disk_keeps_what_it_reported(tmp_path: Path, disk: str) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    url = f"sqlite:///{folder}/keys.db"
    with _small_disk(folder) as mounted:
        small_file = disk == "small file" or not mounted
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(2_000_000))
        limit = ["--largest-file", "1000000"] if small_file else []
        command = [sys.executable, "-m", "tests.stores.sql.writer", "fill", url, *limit]
        writer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert writer.returncode == 1
        assert writer.stderr.startswith(f"{folder}/keys.db ")
        assert "full" in writer.stderr
        assert NOTHING_CHANGED in writer.stderr
        assert "Traceback" not in writer.stderr
        ballast.unlink()
        with closing(Database.open(url, Path())) as database:
            store = KeyStore(database)
            ids = [row.id for row in store.rows()]
            assert ids == writer.stdout.split()
            assert ids
            store.create(new_key("once there is room"))
            assert len(list(store.rows())) == len(ids) + 1
        with closing(sqlite3.connect(folder / "keys.db")) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# Files that are none, or may not be written.


@contextmanager
def _unprivileged() -> Iterator[None]:
    """Somebody whom permissions hold back, as they do not hold back root."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into, which pytest's is not."""
    with tempfile.TemporaryDirectory(prefix="forwardauth-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _open_and_write(path: Path) -> None:
    with closing(Database.open(f"sqlite:///{path}", Path())) as database:
        KeyStore(database).create(new_key("b"))


def test_a_file_that_may_not_be_written(open_folder: Path) -> None:
    path = open_folder / "keys.db"
    with closing(Database.open(f"sqlite:///{path}", Path())) as database:
        KeyStore(database).create(new_key("a"))
    before = path.read_bytes()
    path.chmod(0o444)
    with _unprivileged(), pytest.raises(StoreError, match="let this user write the file and its folder"):
        _open_and_write(path)
    path.chmod(0o000)
    with _unprivileged(), pytest.raises(StoreError, match="let this user read and write the file and its folder"):
        Database.open(f"sqlite:///{path}", Path())
    open_folder.chmod(0o555)
    with _unprivileged(), pytest.raises(StoreError, match=r"new\.db cannot be made: Permission denied"):
        Database.open(f"sqlite:///{open_folder}/new.db", Path())
    open_folder.chmod(0o755)
    path.chmod(0o600)
    assert path.read_bytes() == before
    assert not (open_folder / "new.db").exists()


def test_a_file_that_becomes_read_only_under_a_running_service(open_folder: Path) -> None:
    with closing(Database.open(f"sqlite:///{open_folder}/keys.db", Path())) as database:
        store = KeyStore(database)
        store.create(new_key("a"))
        with database.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.rollback()
        assert "cannot be written: nothing was changed" in _refusal(store, lambda: WRITES["create"](store))


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with closing(Database.open(f"sqlite:///{path}", Path())) as database:
        KeyStore(database).add_all(new_key(f"k{number}") for number in range(1000))
    pages = bytearray(path.read_bytes())
    pages[4096 * 5 :] = b"\x55" * (len(pages) - 4096 * 5)
    path.write_bytes(pages)
    damaged = "is damaged: stop the service and restore a backup"
    with closing(Database.open(f"sqlite:///{path}", Path())) as database, pytest.raises(StoreError, match=damaged):
        list(KeyStore(database).rows())


# Servers.


def test_a_server_that_stops_and_starts_again(cluster: Cluster, server_url: str) -> None:
    with closing(Database.open(server_url, Path())) as database:
        store = KeyStore(database)
        row = store.create(new_key("a"))
        stream = store.changes(0, batch=1)
        with database.reading(), database.reading():
            pass  # more than one connection of the pool is known to the old server
        cluster.stop()
        try:
            for call in (store.revision, lambda: store.create(new_key("b")), lambda: next(stream)):
                with pytest.raises(StoreError, match=r"PostgreSQL at 127.0.0.1:\d+/postgres cannot be reached: "):
                    call()
            with pytest.raises(StoreError, match="cannot be reached: "):
                Database.open(server_url, Path())
        finally:
            cluster.start()
        assert store.get("a") == row
        assert store.create(new_key("b")).id == "b"


def test_a_server_that_stops_in_between(cluster: Cluster, server_url: str) -> None:
    with closing(Database.open(server_url, Path())) as database:
        store = KeyStore(database)
        store.add_all(new_key(f"k{number}") for number in range(3))
        stream = store.changes(0, batch=1)
        next(stream)

        def write() -> None:
            with database.writing() as connection:
                connection.execute(text("UPDATE revision SET number = 99"))
                cluster.stop()
                cluster.start()
                connection.execute(text("UPDATE revision SET number = 100"))

        with pytest.raises(StoreError, match=r"was lost in between .*: look whether the last change was made"):
            write()
        with pytest.raises(StoreError, match=r"PostgreSQL at .* (was lost in between|cannot be reached)"):
            list(stream)
        assert store.revision() == 1


def test_a_server_that_may_only_be_read(server_url: str) -> None:
    with closing(Database.open(server_url, Path())) as database:
        store = KeyStore(database)
        store.create(new_key("a"))
        with psycopg.connect(server_url, autocommit=True) as owner:
            owner.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
            try:
                database.close()
                said = _refusal(store, lambda: WRITES["create"](store))
            finally:
                owner.execute("SET default_transaction_read_only = off")
                owner.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    assert "cannot be written, it is read-only: nothing was changed; name the primary server" in said


def test_a_user_who_may_make_no_tables(server_url: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        try:
            guest = server_url.replace(server_url[len("postgresql://") : server_url.index("@")], "guest:guest")
            with pytest.raises(StoreError, match="does not allow that to this user: nothing was changed"):
                Database.open(guest, Path())
        finally:
            owner.execute("DROP ROLE guest")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("pa55word", "guessed"), 'password authentication failed for user "owner"'),
        (("/postgres", "/nosuch"), 'database "nosuch" does not exist'),
        (("127.0.0.1:", "127.0.0.1:1"), "(Connection refused|invalid port)"),
        (("127.0.0.1", "nowhere.invalid"), "Name or service not known"),
        (("/postgres", "/postgres?sslmode=nonsense"), "invalid sslmode value"),
        (("/postgres", "/postgres?pa55word=pa55word"), "invalid connection option"),
    ],
)
def test_a_server_that_cannot_be_reached(server_url: str, change: tuple[str, str], said: str) -> None:
    with pytest.raises(StoreError, match=f"cannot be reached: .*{said}") as refused:
        Database.open(change[1].join(server_url.rsplit(change[0], 1)), Path())
    assert "pa55word-" not in str(refused.value)
    assert "guessed" not in str(refused.value)


def test_settings_of_a_url_hold(server_url: str) -> None:
    url = f"{server_url}?application_name=mine&connect_timeout=3"
    with closing(Database.open(url, Path())) as database, database.reading() as connection:
        asked = (
            "application_name",
            "lock_timeout",
            "statement_timeout",
            "transaction_isolation",
            "client_encoding",
        )
        answers = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in asked]
    assert answers == ["mine", "30s", "1min", "read committed", "UTF8"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("53100", "has no room, its disk is full: nothing was changed; free space and try again"),
        ("53200", "has no memory left: nothing was changed; try again"),
        ("53300", "has no connection left: nothing was changed; raise max_connections or try again"),
        ("57014", "took too long, or was told to stop: nothing was changed; try again"),
        ("57P03", "cannot be reached: "),
        ("XX000", "refused: "),
    ],
)
def test_what_a_server_says_by_number(state: str, said: str) -> None:
    with pytest.raises(StoreError, match=f"^here {said}"), told("here"):
        raise psycopg.errors.lookup(state)("said by the server")


def test_a_mistake_of_ours_is_not_told_as_the_databases() -> None:
    with pytest.raises(ZeroDivisionError), told("here"):
        1 / 0  # noqa: B018
