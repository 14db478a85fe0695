"""Many keys at once: all or nothing, as a stream, on both engines."""

import pytest

from forwardauth.stores.sql import DuplicateKeyError, KeyStore, NewKey, StoreError
from tests.stores.sql.building import everything, new_key, secrets

A, B, C = (letter.encode() * 32 for letter in "abc")


def test_keys_are_imported_in_their_order(store: KeyStore) -> None:
    store.create(new_key("first"))
    keys = [new_key(f"k{number}", owner=f"o{number}", expires=2.0 * number or None) for number in range(50)]
    keys[7] = new_key(
        "k7", name="'; \\. \t\n\\N", metadata='{"a":"\\\\"}', scopes='[{"path":"/x"}]', rate="1/s", tenant="t"
    )
    assert store.add_all(iter(keys)) == (50, 0)
    alone = {row.id: row for row in store.rows()}
    assert list(alone) == ["first", *(f"k{number}" for number in range(50))]
    assert secrets(store).keys() >= {key.digest for key in keys}
    for key in keys:
        row = alone[key.id]
        assert (row.name, row.owner, row.tenant, row.created) == (key.name, key.owner, key.tenant, key.created)
        assert (row.expires, row.scopes, row.rate, row.metadata) == (key.expires, key.scopes, key.rate, key.metadata)
        assert (row.disabled, row.revoked, row.last_used) == (False, None, None)


def test_an_import_is_one_change(store: KeyStore) -> None:
    store.create(new_key("a"))
    before = store.revision()
    store.add_all(new_key(f"k{number}") for number in range(20))
    assert store.revision() == before + 1
    assert {row[1] for row in secrets(store, before).values()} == {f"k{number}" for number in range(20)}


def test_an_import_of_nothing(store: KeyStore) -> None:
    assert store.add_all([]) == (0, 0)
    assert list(store.rows()) == []


def test_an_import_is_read_as_a_stream(store: KeyStore) -> None:
    told: list[int] = []
    most_ahead = 0

    def source() -> object:
        nonlocal most_ahead
        for number in range(25_000):
            most_ahead = max(most_ahead, number - (told[-1] if told else 0))
            yield new_key(f"k{number}")

    assert store.add_all(source(), told.append) == (25_000, 0)  # type: ignore[arg-type]
    assert told == [10_000, 20_000, 25_000]
    assert most_ahead <= 10_000


KNOWN = {"id": "a", "secret": "a", "replaced secret": "b"}


def _fill(store: KeyStore) -> None:
    store.create(new_key("a", digest=A))
    store.create(new_key("b", digest=B))
    store.rotate("b", C, "", 1.0, 2.0)


@pytest.mark.parametrize(
    ("key", "there"),
    [(new_key("a"), "a"), (new_key("x", digest=A), "a"), (new_key("x", digest=B), "b"), (new_key("x", digest=C), "b")],
    ids=["id", "secret", "replaced secret", "present secret"],
)
def test_one_that_is_there_refuses_all(store: KeyStore, key: NewKey, there: str) -> None:
    _fill(store)
    before = everything(store)
    with pytest.raises(DuplicateKeyError, match=f"key 3 is there already, as {there}: nothing was imported") as refused:
        store.add_all([new_key("m"), new_key("n"), key, new_key("o"), new_key("a")])
    assert (refused.value.id, refused.value.position) == (there, 3)
    assert everything(store) == before


@pytest.mark.parametrize("key", [new_key("m"), new_key("x", digest=A)], ids=["id", "secret"])
def test_one_that_stands_there_twice_refuses_all(store: KeyStore, key: NewKey) -> None:
    before = everything(store)
    with pytest.raises(DuplicateKeyError, match="key 4 has the id or the secret of key 2, m") as refused:
        store.add_all([new_key("l"), new_key("m", digest=A), new_key("n"), key])
    assert (refused.value.id, refused.value.position) == ("m", 4)
    assert everything(store) == before


def test_the_first_mistake_is_the_one_that_is_told(store: KeyStore) -> None:
    _fill(store)
    with pytest.raises(DuplicateKeyError) as refused:
        store.add_all([new_key("m"), new_key("n"), new_key("m"), new_key("a")])
    assert refused.value.position == 3
    with pytest.raises(DuplicateKeyError) as refused:
        store.add_all([new_key("m"), new_key("a"), new_key("m")])
    assert refused.value.position == 2


def test_what_is_there_can_be_skipped(store: KeyStore) -> None:
    _fill(store)
    before = {row.id: row for row in store.rows()}
    keys = [new_key("m"), new_key("a"), new_key("x", digest=A), new_key("y", digest=B), new_key("m"), new_key("z")]
    assert store.add_all(keys, skip_existing=True) == (2, 4)
    assert {row.id: row for row in store.rows()} == before | {"m": store.get("m"), "z": store.get("z")}
    assert keys[0].digest in secrets(store)
    assert keys[4].digest not in secrets(store)
    assert store.add_all(keys, skip_existing=True) == (0, 6)


def test_a_source_that_breaks_imports_nothing(store: KeyStore) -> None:
    _fill(store)
    before = everything(store)

    def source() -> object:
        yield from (new_key(f"k{number}") for number in range(12_000))
        raise KeyError("the source's own")

    with pytest.raises(KeyError, match="the source's own"):
        store.add_all(source())  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="key 2 has a digest of 3 bytes"):
        store.add_all([new_key("m"), new_key("n", digest=b"123")])
    assert everything(store) == before


def test_others_write_while_an_import_reads_its_source(store: KeyStore) -> None:
    """A source may be a pipe that somebody types into: a revocation does not wait for it."""

    def source() -> object:
        yield from (new_key(f"k{number}") for number in range(10_001))
        store.revoke("a", 5.0)
        yield new_key("last")

    _fill(store)
    assert store.add_all(source()) == (10_002, 0)  # type: ignore[arg-type]
    assert store.get("a").revoked == 5.0
