"""Opening a database: its place, its schema, and several who open it at once."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, inspect, text

from forwardauth.stores.sql import Database, KeyStore, StoreError
from forwardauth.stores.sql.database import NEWEST
from forwardauth.stores.sql.tables import metadata
from tests.stores.sql.building import ROOT, new_key

VERSION_TABLE = "forwardauth_version"


# The file of SQLite.


def test_a_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with closing(Database.open("sqlite:///data/keys.db", tmp_path)) as database:
        KeyStore(database).create(new_key("a"))
        made = sorted((tmp_path / "data").iterdir())
        assert [path.name for path in made] == ["keys.db", "keys.db-shm", "keys.db-wal"]
        assert {oct(path.stat().st_mode & 0o777) for path in made} == {"0o600"}
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        assert database.place == str(tmp_path / "data/keys.db")


def test_a_folder_and_a_file_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o750)
    (folder / "keys.db").touch()
    (folder / "keys.db").chmod(0o640)
    Database.open(f"sqlite:///{folder / 'keys.db'}", Path("/nowhere")).close()
    assert (folder.stat().st_mode & 0o777, (folder / "keys.db").stat().st_mode & 0o777) == (0o750, 0o640)


def test_what_was_committed_survives_a_power_cut(file_url: str) -> None:
    """https://www.sqlite.org/pragma.html#pragma_synchronous: with a write-ahead log only FULL syncs every commit."""
    with closing(Database.open(file_url, Path())) as database, database.writing() as connection:
        asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        told = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in asked]
    assert told == ["wal", 2, 1, 30_000]


@pytest.mark.parametrize(
    "url", ["sqlite:///100%25 & 50%/keys.db", "sqlite:///a b#c/keys.db", "sqlite+aiosqlite:///x.db"]
)
def test_a_path_is_taken_to_the_letter(tmp_path: Path, url: str) -> None:
    with closing(Database.open(url, tmp_path)) as database:
        assert KeyStore(database).create(new_key("a")).id == "a"
    assert (tmp_path / url.partition("///")[2]).is_file()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///no/folder/keys.db", "cannot be made: No such file or directory"),
        ("sqlite:////proc/keys.db", "cannot be made: "),
        ("sqlite:///folder", "is no file: correct `database:`"),
        ("sqlite:///text/keys.db", "is no file: correct `database:`"),
        ("sqlite:///text", "is no SQLite database: nothing was changed; correct `database:`"),
    ],
)
def test_a_place_for_no_database(tmp_path: Path, url: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("a list of things to buy\n" * 100)
    with pytest.raises(StoreError, match=said):
        Database.open(url, tmp_path)
    assert (tmp_path / "text").read_text() == "a list of things to buy\n" * 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "text"]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "keys.db",
            "sqlite://",
            "sqlite:///",
            "sqlite:///:memory:",
            "sqlite:///x.db?mode=ro",
            "mysql://u:pa55@h/d",
        ),
        *("postgresql://u:pa55/pa55@h:pa55/d@x", "postgresql://u:pa@55@h/d", "postgresql://u:p@a/5@5"),
        *("postgresql://u:x@h:pa55/d", "postgresql://u:5/pa55@h/d@x"),
    ],
)
def test_a_url_that_nobody_understands_is_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreError, match="expects sqlite:///path or postgresql://") as refused:
        Database.open(url, tmp_path)
    assert "55" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"])
def test_every_way_to_write_postgresql_is_the_same(server_url: str, scheme: str) -> None:
    with closing(Database.open(server_url.replace("postgresql", scheme, 1), Path())) as database:
        assert KeyStore(database).create(new_key("a")).id == "a"


# The schema.


def _steps(connection: Connection) -> Iterator[str]:
    """Take the steps one by one, from an empty database, and tell each."""
    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", str(ROOT / "forwardauth/stores/sql/migrations"))
    for step in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
        command.upgrade(config, step.revision)
        yield step.revision


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The engine of a database without any table."""
    with closing(Database.open(url, Path())) as database:
        engine = database._engine
        everything = MetaData()
        everything.reflect(engine)
        with engine.begin() as connection:
            everything.drop_all(connection)
        yield engine


def _schema(connection: Connection) -> dict[str, object]:
    """What a comparison by Alembic leaves out."""
    seen = inspect(connection)
    return {
        name: (
            {
                each["name"]: each["sqltext"].replace("(", "").replace(")", "")
                for each in seen.get_check_constraints(name)
            },
            {each["name"]: each["column_names"] for each in seen.get_unique_constraints(name)},
            {each["name"]: each["referred_columns"] for each in seen.get_foreign_keys(name)},
            seen.get_pk_constraint(name)["constrained_columns"],
        )
        for name in metadata.tables
    }


def test_the_steps_lead_to_the_tables_that_queries_see(engine: Engine) -> None:
    with engine.begin() as connection:
        steps = list(_steps(connection))
        assert steps[0] == "0001"
        assert steps[-1] == NEWEST
        compared = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(compared, metadata) == []
        by_steps = _schema(connection)
    with engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        assert _schema(connection) == by_steps


def test_a_drift_would_be_seen(engine: Engine) -> None:
    with engine.begin() as connection:
        list(_steps(connection))
        connection.execute(text("ALTER TABLE keys ADD COLUMN colour TEXT"))
        connection.execute(text("DROP INDEX keys_revision"))
        compared = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert {difference[0] for difference in compare_metadata(compared, metadata)} == {"remove_column", "add_index"}


def test_keys_of_the_first_schema_are_there_in_the_newest(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        assert next(_steps(connection)) == "0001"
        connection.execute(
            text(
                "INSERT INTO keys (id, name, owner, tenant, digest, pepper, created, disabled, scopes, rate, metadata,"
                " revision) VALUES ('a', 'n', 'o', 't', :digest, '', 5, false, '[]', '', '{}', 1)"
            ),
            {"digest": b"a" * 32},
        )
        connection.execute(text("UPDATE revision SET number = 1"))
    with closing(Database.open(url, Path())) as database:
        store = KeyStore(database)
        assert (store.get("a").name, store.revision()) == ("n", 1)
        assert store.disable("a").disabled


def test_a_newer_schema_is_left_alone(url: str, database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9000'"))
    with pytest.raises(StoreError, match=f"has schema 9000, and this forwardauth knows {NEWEST}: run the newer"):
        Database.open(url, Path())


def test_tables_of_somebody_else_are_left_alone(url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE keys (piano TEXT)"))
    with pytest.raises(StoreError, match="holds keys of another program: give forwardauth a database of its own"):
        Database.open(url, Path())
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == ["keys"]


def test_a_database_may_hold_what_is_not_in_our_way(url: str, engine: Engine) -> None:
    """Another program that uses Alembic keeps its version in `alembic_version`."""
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    with closing(Database.open(url, Path())) as database:
        KeyStore(database).create(new_key("a"))
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "theirs"


def test_alembic_is_loaded_only_where_there_is_way_to_go(url: str) -> None:
    code = (
        "import sys, pathlib; from forwardauth.stores.sql import Database;"
        "before = 'alembic' in sys.modules; Database.open(sys.argv[1], pathlib.Path()).close();"
        "print(before, 'alembic' in sys.modules)"
    )
    told = [
        subprocess.run([sys.executable, "-c", code, url], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert told == ["False True\n", "False False\n"]


def test_an_installed_package_has_its_migrations() -> None:
    """Every folder on the way is a package, so that whatever packs the program packs the steps too."""
    folder = ROOT / "forwardauth/stores/sql/migrations"
    scripts = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.suffix for path in scripts} == {".py"}
    assert {path.parent / "__init__.py" for path in scripts} <= set(scripts)


# Several at once.


def _start(url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.stores.sql.writer", "open", url, "--times", "3"]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_those_who_open_an_empty_database_at_once_all_succeed(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for attempt in range(3):
        file = f"sqlite:///{tmp_path}/{attempt}.db"
        url = file if engine == "sqlite" else request.getfixturevalue("cluster").empty()
        opening = [_start(url) for _ in range(4)]
        for each in opening:
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in opening:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        told = [each.communicate(timeout=60) for each in opening]
        assert [(each.returncode, errors) for each, (_, errors) in zip(opening, told, strict=True)] == [(0, "")] * 4
        ids = [word for output, _ in told for word in output.split()]
        with closing(Database.open(url, Path())) as database:
            assert {row.id for row in KeyStore(database).rows()} == set(ids)
        assert len(ids) == 12


def test_opening_waits_for_whoever_writes_in_the_old_way(file_url: str) -> None:
    """SQLite refuses to switch to the write-ahead log at once, whatever its timeout, while somebody has begun to write.

    https://www.sqlite.org/c3ref/busy_handler.html: it does not wait where two could wait for each other for ever.
    """
    with closing(sqlite3.connect(file_url.removeprefix("sqlite:///"), isolation_level=None)) as writer:
        writer.execute("CREATE TABLE other (word TEXT)")
        writer.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as thread:
            opening = thread.submit(Database.open, file_url, Path())
            time.sleep(0.3)
            assert not opening.done()
            writer.execute("COMMIT")
            opening.result(timeout=60).close()
    with closing(sqlite3.connect(file_url.removeprefix("sqlite:///"), isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = DELETE").close()
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="was locked by another writer for too long"):
            Database.open(file_url, Path(), wait=0.2)
