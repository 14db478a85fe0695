"""Keys of a database: taken back, guessed, mistyped, and while the database is away.

The database is a real SQLite file, changed behind the service's back as another process would change it.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forwardauth.config.materials import Records
from forwardauth.core.keys import KeyFormat, Minted, digest
from forwardauth.stores.following import KeyFollower
from forwardauth.stores.sql import Database, KeyStore, NewKey, StoreError
from tests.attacks.gate import CHAT, DIALECTS, Asking, Gate, subrequest
from tests.building import bearer

CONFIGURATION = """
database: sqlite:///keys.db
authenticators:
  keys: {virtual_key: {from: [bearer, {header: X-API-Key}, {query: api_key}]}}
routes:
  - {name: page, path: /page, require: keys, login: "https://login.example.com/in"}
  - {name: all, path: /*, require: keys}
"""
FORMAT = KeyFormat("fa_")

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


class Guarded(Gate):
    """The service with a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.records = Records()
        super().__init__(CONFIGURATION, str(folder / "audit.log"), self.records)
        self.store = self.open(folder)
        self.follower = KeyFollower(lambda: self.open(folder), self.records.key_index, self.service.uses)

    @staticmethod
    def open(folder: Path) -> KeyStore:
        return KeyStore(Database.open("sqlite:///keys.db", folder))

    def create(self, name: str = "one", expires: float | None = None) -> Minted:
        minted = FORMAT.mint(secrets.randbelow)
        row = NewKey(minted.id, name, digest(minted.key.encode()), "", time.time(), owner=name, expires=expires)
        self.store.create(row)
        return minted


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Guarded]:
    guarded = Guarded(tmp_path)
    await guarded.follower.start()
    yield guarded
    await guarded.follower.stop()
    guarded.store.close()
    guarded.audit.close()


@every_dialect
async def test_a_key_that_ended_opens_nothing_more_on_an_open_connection(gate: Guarded, dialect: str) -> None:
    """Attack: go on with a key that was revoked, disabled, expired or replaced, in the very same bytes (THREATS 31)."""
    ends = {
        "revoked": lambda key_id: gate.store.revoke(key_id, time.time()),
        "disabled": lambda key_id: gate.store.disable(key_id),
        "expired": lambda key_id: gate.store.expire(key_id, time.time() - 1),
        "replaced": lambda key_id: gate.store.rotate(key_id, secrets.token_bytes(32), "", time.time(), time.time()),
    }
    for end in ends.values():
        key = gate.create()
        await gate.follower.refresh()
        wire, message = gate.connect(), subrequest(dialect, CHAT, bearer(key.key))
        wire.send(message * 3)
        end(key.id)
        await gate.follower.refresh()
        wire.send(message * 2)
        assert [answer.meant for answer in wire.answers] == [200, 200, 200, 401, 401]


@every_dialect
async def test_a_database_that_is_away_brings_nothing_back_and_lets_nobody_new_in(
    gate: Guarded, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: take the database away, and go on with a revoked key or a made-up one (THREATS 33, 34)."""
    good, revoked = gate.create(), gate.create()
    gate.store.revoke(revoked.id, time.time())
    await gate.follower.refresh()

    def away() -> int:
        raise StoreError("away")

    monkeypatch.setattr(gate.follower._store, "revision", away)
    with pytest.raises(StoreError):
        await gate.follower.refresh()
    answers = [
        gate.ask(dialect, CHAT, bearer(key.key)).meant for key in (good, revoked, FORMAT.mint(secrets.randbelow))
    ]
    assert answers == [200, 401, 401]


@every_dialect
@pytest.mark.parametrize(
    "key",
    [
        "' OR 1=1--",
        "fa_%",
        "*",
        "fa_' UNION SELECT digest FROM keys--",
        "\\x00" * 32,
        "../../keys.db",
        "a\tb",
        "{{7*7}}${jndi:ldap://x}",
    ],
)
async def test_a_key_that_is_sql_or_a_pattern_is_a_key_that_nobody_knows(
    gate: Guarded, dialect: str, key: str, tmp_path: Path
) -> None:
    """Attack: a key, and a name, that a database or a template would take for its own words (THREATS 25)."""
    known = gate.create(name="'; DROP TABLE keys; --")
    await gate.follower.refresh()
    assert gate.ask(dialect, CHAT, ("X-API-Key", key)).meant in (400, 401)
    allowed = gate.ask(dialect, CHAT, bearer(known.key))
    assert allowed.meant == 200
    assert gate.store.get(known.id).name == "'; DROP TABLE keys; --"


@every_dialect
async def test_a_right_id_with_a_wrong_secret_is_one_guess_as_any_other(gate: Guarded, dialect: str) -> None:
    """Attack: know a public id, and try secrets with it, spread over places of the request (THREATS 18, 24)."""
    known = gate.create()
    await gate.follower.refresh()
    answers = []
    for number in range(6):
        guess = FORMAT.mint(secrets.randbelow).key
        guess = known.key[: len("fa_") + 12] + guess[len("fa_") + 12 :]
        header = bearer(guess) if number % 2 else ("X-API-Key", guess)
        answers.append(gate.ask(dialect, CHAT, header))
    assert [answer.meant for answer in answers] == [401] * 5 + [429]
    unknown = Guarded.ask(gate, dialect, Asking(client="192.0.2.200"), bearer(FORMAT.mint(secrets.randbelow).key))
    mistyped = Guarded.ask(gate, dialect, Asking(client="192.0.2.201"), bearer(known.key[:-1] + "!"))
    assert unknown.body == mistyped.body == answers[0].body, "nothing tells them apart"


@every_dialect
async def test_a_key_in_an_address_is_repeated_nowhere(
    gate: Guarded, dialect: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Attack: read keys out of audit lines, logs, redirects and metrics, where addresses are kept (THREATS 38)."""
    caplog.set_level(logging.DEBUG)
    good, revoked = gate.create(), gate.create()
    gate.store.revoke(revoked.id, time.time())
    await gate.follower.refresh()
    told = ""
    for key, meant in ((good.key, (200,)), (revoked.key, (302, 401))):
        asking = Asking(url=f"https://app.example.com/page?a=1&api_key={key}&b=2")
        answer = gate.ask(dialect, asking, ("Accept", "text/html"))
        assert answer.meant in meant
        told += str(answer.headers) + str(answer.body)
    await asyncio.to_thread(gate.audit.close)
    told += (tmp_path / "audit.log").read_text() + gate.metrics.render().decode() + caplog.text
    for key in (good, revoked):
        assert key.key not in told
        assert key.key.split("_")[2] not in told
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [line["path"] for line in lines] == ["/page", "/page"]


async def test_the_database_holds_no_secret(gate: Guarded, tmp_path: Path) -> None:
    """Attack: copy the database and use what stands in it (THREATS 24)."""
    keys = [gate.create(name=f"key {number}") for number in range(20)]
    await gate.follower.refresh()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("keys.db*"))  # noqa: ASYNC240 - a test waits
    for key in keys:
        assert key.id.encode() in stored
        assert key.key.split("_")[2].encode() not in stored
    row = digest(keys[0].key.encode())
    for presented in (row.hex(), row.hex().upper()):
        assert gate.ask("traefik", CHAT, bearer(presented)).meant == 401


@every_dialect
async def test_the_bytes_of_a_digest_are_no_key(gate: Guarded, dialect: str) -> None:
    """Attack: send what a copied database holds, as raw bytes (THREATS 24, 25)."""
    stored = b"\0"
    # One whose bytes fit into a header: about one in eighty.
    while not all(0x20 < byte != 0x7F for byte in stored):
        minted = FORMAT.mint(secrets.randbelow)
        stored = digest(minted.key.encode())
    gate.store.create(NewKey(minted.id, "one", stored, "", time.time()))
    await gate.follower.refresh()
    message = subrequest(dialect, CHAT, ("X-API-Key", "BYTES"))
    assert gate.send(message.replace(b"BYTES", minted.key.encode())).meant == 200
    assert gate.send(message.replace(b"BYTES", stored)).meant == 401
