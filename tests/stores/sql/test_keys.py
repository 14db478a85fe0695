"""The life of a key, on both engines."""

import dataclasses

import pytest

from forwardauth.core.key_index import ACTIVE, DISABLED, REVOKED
from forwardauth.stores.sql import DuplicateKeyError, KeyRow, KeyStore, StoreError, UnknownKeyError
from tests.stores.sql.building import everything, new_key, secrets

A, B, C, D = (letter.encode() * 32 for letter in "abcd")


def test_a_key_is_stored_as_it_was_handed_over(store: KeyStore) -> None:
    told = {"owner": "ada", "tenant": "science", "expires": 2000.5, "scopes": '[{"path":"/v1/*"}]', "rate": "100/h"}
    key = new_key("Kq3xZ", pepper="a1b2c3d4", created=1234.5678, metadata='{"team":"Ω \\" ☃"}', **told)
    row = store.create(key)
    assert row == store.get("Kq3xZ") == next(store.rows())
    shown = dataclasses.asdict(row)
    stored = dataclasses.asdict(key)
    assert {name: shown[name] for name in shown.keys() & stored.keys()} == {
        name: value for name, value in stored.items() if name not in ("digest", "pepper")
    }
    assert (row.disabled, row.revoked, row.last_used, row.overlap_until) == (False, None, None, None)
    assert secrets(store) == {
        key.digest: (key.digest, "Kq3xZ", "ada", "science", 2000.5, ACTIVE, '[{"path":"/v1/*"}]', "100/h")
    }


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE keys; --", '" OR 1=1', "%(id)s", ":id", "?", "%", "\\", "é\U0001f511", "a\nb", "", "{}"]
)
def test_any_text_is_just_a_text(store: KeyStore, text: str) -> None:
    other = store.create(new_key("other"))
    row = store.create(new_key(text, name=text, owner=text, tenant=text, rate=text, metadata=text))
    assert store.get(text) == row
    assert list(store.rows(owner=text, tenant=text, name=text)) == [row]
    assert store.expire(text, 5.0).expires == 5.0
    store.note_uses({text: 6.0})
    assert store.get(text).last_used == 6.0
    assert store.get("other") == other


@pytest.mark.parametrize("text", ["a\0b", "\0"])
def test_a_nul_is_refused_by_both(store: KeyStore, text: str) -> None:
    with pytest.raises(StoreError, match="NUL"):
        store.create(new_key("a", name=text))
    with pytest.raises(StoreError, match="key 2 has a text with a NUL"):
        store.add_all([new_key("a"), new_key(text)])
    with pytest.raises(UnknownKeyError):
        store.get(text)
    with pytest.raises(UnknownKeyError):
        store.revoke(text, 1.0)
    assert list(store.rows()) == []


def test_half_a_character_is_refused(store: KeyStore) -> None:
    """An argument that is no UTF-8 reaches a program with surrogates in it."""
    with pytest.raises(StoreError, match="the key has a text that is no UTF-8"):
        store.create(new_key("a", name="\udcff"))
    with pytest.raises(StoreError, match="key 2 has a text that is no UTF-8"):
        store.add_all([new_key("a"), new_key("b", owner="\udcff")])
    with pytest.raises(StoreError, match="UTF-8"):
        store.get("\udcff")
    assert list(store.rows()) == []


def test_a_digest_has_32_bytes(store: KeyStore) -> None:
    with pytest.raises(StoreError, match="digest of 31 bytes"):
        store.create(new_key("a", digest=b"x" * 31))


def test_an_id_and_a_secret_are_there_once(store: KeyStore) -> None:
    store.create(new_key("a", digest=A))
    before = everything(store)
    for key in (new_key("a", digest=B), new_key("b", digest=A)):
        with pytest.raises(DuplicateKeyError, match="key a has this id or this secret already") as refused:
            store.create(key)
        assert (refused.value.id, refused.value.position) == ("a", None)
    assert everything(store) == before


def test_a_replaced_secret_is_no_new_one(store: KeyStore) -> None:
    store.create(new_key("a", digest=A))
    store.create(new_key("b", digest=B))
    store.rotate("a", C, "", 1.0, 2.0)
    before = everything(store)
    for used in (A, B, C):
        with pytest.raises(DuplicateKeyError):
            store.create(new_key("c", digest=used))
        with pytest.raises(DuplicateKeyError):
            store.rotate("a", used, "", 1.0, 2.0)
    assert everything(store) == before


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("nobody"),
        lambda store: store.rotate("nobody", A, "", 1.0, 2.0),
        lambda store: store.revoke("nobody", 1.0),
        lambda store: store.disable("nobody"),
        lambda store: store.enable("nobody"),
        lambda store: store.expire("nobody", 1.0),
    ],
)
def test_an_unknown_key_is_told(store: KeyStore, call: object) -> None:
    store.create(new_key("a"))
    before = everything(store)
    with pytest.raises(UnknownKeyError, match="no key has this id"):
        call(store)  # type: ignore[operator]
    assert everything(store) == before


def test_rows_come_in_order_and_by_filter(store: KeyStore) -> None:
    for number, (owner, tenant, name) in enumerate([("ada", "x", "n"), ("bob", "x", "m"), ("ada", "y", "n")]):
        store.create(new_key(f"k{9 - number}", owner=owner, tenant=tenant, name=name))

    def ids(**wanted: str) -> list[str]:
        return [row.id for row in store.rows(**wanted)]

    assert ids() == ["k9", "k8", "k7"]
    assert ids(owner="ada") == ["k9", "k7"]
    assert ids(tenant="x") == ["k9", "k8"]
    assert ids(name="n", tenant="y") == ["k7"]
    assert ids(owner="") == ids(owner="ADA") == ids(name="n%") == []


def test_rotation_with_overlap(store: KeyStore) -> None:
    store.create(new_key("a", digest=A, pepper="first"))
    row = store.rotate("a", B, "second", now=100.0, until=200.0)
    assert row.overlap_until == 200.0
    told = secrets(store)
    assert {digest: row[4] for digest, row in told.items()} == {A: 200.0, B: None}
    assert {row[1] for row in told.values()} == {"a"}


def test_rotation_twice_within_one_overlap(store: KeyStore) -> None:
    store.create(new_key("a", digest=A))
    store.rotate("a", B, "", now=100.0, until=200.0)
    row = store.rotate("a", C, "", now=150.0, until=250.0)
    assert row.overlap_until == 250.0
    assert {digest: row[4] for digest, row in secrets(store).items()} == {A: 200.0, B: 250.0, C: None}


def test_rotation_at_once_ends_every_older_secret(store: KeyStore) -> None:
    """Whoever rotates without overlap knows that a secret is in wrong hands: an earlier overlap must not outlive it."""
    store.create(new_key("a", digest=A))
    store.rotate("a", B, "", now=100.0, until=10_000.0)
    row = store.rotate("a", C, "", now=150.0, until=0.0)
    assert row.overlap_until == 150.0
    assert {digest: row[4] for digest, row in secrets(store).items()} == {A: 150.0, B: 150.0, C: None}


def test_an_ended_overlap_is_not_begun_again(store: KeyStore) -> None:
    store.create(new_key("a", digest=A))
    store.rotate("a", B, "", now=100.0, until=120.0)
    store.rotate("a", C, "", now=150.0, until=250.0)
    store.rotate("a", D, "", now=300.0, until=400.0)
    assert {digest: row[4] for digest, row in secrets(store).items()} == {A: 120.0, B: 250.0, C: 400.0, D: None}


def test_no_overlap_outlives_its_key(store: KeyStore) -> None:
    store.create(new_key("a", digest=A, expires=150.0))
    assert store.rotate("a", B, "", now=100.0, until=200.0).overlap_until == 150.0
    assert {digest: row[4] for digest, row in secrets(store).items()} == {A: 150.0, B: 150.0}
    row = store.expire("a", 120.0)
    assert row.overlap_until == 120.0
    assert {digest: row[4] for digest, row in secrets(store).items()} == {A: 120.0, B: 120.0}
    store.expire("a", None)
    assert {digest: row[4] for digest, row in secrets(store).items()} == {A: 150.0, B: None}


def test_every_secret_of_a_key_shares_its_state(store: KeyStore) -> None:
    store.create(new_key("a", digest=A))
    store.rotate("a", B, "", now=1.0, until=200.0)
    assert {row[5] for row in secrets(store).values()} == {ACTIVE}
    assert store.disable("a").disabled
    assert {row[5] for row in secrets(store).values()} == {DISABLED}
    assert not store.enable("a").disabled
    assert {row[5] for row in secrets(store).values()} == {ACTIVE}
    store.disable("a")
    store.revoke("a", 5.0)
    assert {row[5] for row in secrets(store).values()} == {REVOKED}


def test_revocation_is_for_ever(store: KeyStore) -> None:
    store.create(new_key("a", digest=A))
    assert store.revoke("a", 5.0).revoked == 5.0
    assert store.revoke("a", 9.0).revoked == 5.0
    before = everything(store)
    for change in (
        lambda: store.rotate("a", B, "", 10.0, 20.0),
        lambda: store.enable("a"),
        lambda: store.disable("a"),
        lambda: store.expire("a", None),
    ):
        with pytest.raises(StoreError, match="key a is revoked, which is for ever"):
            change()
    assert everything(store) == before


def test_a_disabled_or_expired_key_can_be_rotated(store: KeyStore) -> None:
    store.create(new_key("a", digest=A, expires=50.0))
    store.disable("a")
    row = store.rotate("a", B, "", now=100.0, until=200.0)
    assert (row.disabled, row.expires, row.overlap_until) == (True, 50.0, 50.0)


def test_the_state_of_a_row() -> None:
    def row(disabled: bool, expires: float | None, revoked: float | None) -> KeyRow:
        return KeyRow("a", "", "", "", 0.0, expires, disabled, revoked, "[]", "", "{}", None, None)

    assert row(False, None, None).state(1e12) == "active"
    assert row(False, 10.0, None).state(9.999) == "active"
    assert row(False, 10.0, None).state(10.0) == "expired"
    assert row(True, 10.0, None).state(10.0) == "disabled"
    assert row(True, 10.0, 3.0).state(10.0) == "revoked"


def test_keys_are_counted_by_state(store: KeyStore) -> None:
    assert store.counts(0.0) == {"active": 0, "expired": 0, "disabled": 0, "revoked": 0}
    for key_id, expires in (("a", None), ("b", 10.0), ("c", 10.0), ("d", None), ("e", 11.0)):
        store.create(new_key(key_id, expires=expires))
    store.disable("c")
    store.disable("d")
    store.revoke("d", 1.0)
    assert store.counts(10.0) == {"active": 2, "expired": 1, "disabled": 1, "revoked": 1}
    by_row = [row.state(10.0) for row in store.rows()]
    assert {state: by_row.count(state) for state in by_row} == store.counts(10.0)


def test_the_last_use_only_grows_and_is_no_change(store: KeyStore) -> None:
    store.create(new_key("a"))
    store.create(new_key("b"))
    revision = store.revision()
    store.note_uses({"b": 7.0, "a": 5.0, "nobody": 9.0})
    store.note_uses({"a": 4.0, "b": 8.0})
    store.note_uses({})
    assert {row.id: row.last_used for row in store.rows()} == {"a": 5.0, "b": 8.0}
    assert store.revision() == revision
