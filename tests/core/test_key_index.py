"""The index of keys in memory: what goes in comes out, changes replace, and nobody can read what is no scope."""

from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.key_index import ACTIVE, REVOKED, KeyIndex, Row, Uses
from forwardauth.core.rate import parse_limit

ID = "0123456789AB"


def row(digest: bytes, key_id: str = ID, state: int = ACTIVE, scopes: str = "[]", rate: str = "") -> Row:
    return digest, key_id, "ada", "alpha", None, state, scopes, rate


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@given(
    st.binary(min_size=32, max_size=32),
    names,
    names,
    st.none() | st.floats(0, 1e11),
    st.sampled_from([0, 1, 2]),
    st.sampled_from(["", "100/h", "5/s burst 9"]),
)
def test_a_record_comes_out_as_it_went_in(
    digest: bytes, owner: str, tenant: str, expires: float | None, state: int, rate: str
) -> None:
    index = KeyIndex()
    index.merge(index.pack([(digest, ID, owner, tenant, expires, state, '[{"path":"/v1/*"}]', rate)]))
    packed = index.find(digest)
    assert packed is not None
    record = index.unpack(packed)
    assert (record.id, record.owner, record.tenant, record.expires, record.state) == (ID, owner, tenant, expires, state)
    assert record.profile.limit == (parse_limit(rate) if rate else None)
    assert [scope.path for scope in record.profile.scopes] == ["/v1/*"]


def test_an_id_of_any_length_is_kept_whole() -> None:
    index = KeyIndex()
    index.merge(index.pack([row(b"a" * 32, key_id="short"), row(b"b" * 32, key_id="an id of another program")]))
    found = [index.find(digest) for digest in (b"a" * 32, b"b" * 32)]
    ids = [index.unpack(packed).id for packed in found if packed is not None]
    assert ids == ["short", "an id of another program"]


def test_an_unknown_digest_is_nobodys() -> None:
    index = KeyIndex()
    index.merge(index.pack([row(b"a" * 32)]))
    assert index.find(b"b" * 32) is None


def test_a_change_replaces_and_a_record_that_changed_is_other_bytes() -> None:
    index = KeyIndex()
    index.merge(index.pack([row(b"a" * 32)]))
    before = index.find(b"a" * 32)
    index.merge(index.pack([row(b"a" * 32, state=REVOKED)]))
    after = index.find(b"a" * 32)
    assert before != after
    assert after is not None
    assert index.unpack(after).state == REVOKED
    assert len(index) == 1


def test_what_many_keys_share_is_kept_once() -> None:
    index = KeyIndex()
    index.merge(index.pack([row(bytes([number]) * 32, rate="100/h") for number in range(50)]))
    found = [index.find(bytes([number]) * 32) for number in range(50)]
    assert len({id(index.unpack(packed).profile) for packed in found if packed is not None}) == 1


def test_a_key_whose_scopes_nobody_can_read_may_do_nothing() -> None:
    index = KeyIndex()
    index.merge(index.pack([row(b"a" * 32, scopes='[{"path": 7}]'), row(b"b" * 32, key_id="B" * 12, rate="lots")]))
    assert index.unreadable == {ID, "B" * 12}
    for digest in (b"a" * 32, b"b" * 32):
        packed = index.find(digest)
        assert packed is not None
        (scope,) = index.unpack(packed).profile.scopes
        assert scope.methods == frozenset()


def test_the_last_use_is_taken_once() -> None:
    uses = Uses()
    uses.note("a", 100.0)
    uses.note("a", 160.0)
    assert uses.take() == {"a": 160.0}
    assert uses.take() == {}


def test_what_could_not_be_written_is_taken_again_unless_a_later_use_came() -> None:
    uses = Uses()
    uses.note("a", 1.0)
    uses.note("b", 1.0)
    taken = uses.take()
    uses.note("a", 2.0)
    uses.give_back(taken)
    assert uses.take() == {"a": 2.0, "b": 1.0}
