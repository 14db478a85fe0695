"""What key files may say, and what makes one broken. No sentence about one holds what it says."""

import json
from contextlib import suppress
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.key_lists import TENANT, ClientKeys, KeyList, parse_client_keys, parse_key_list
from forwardauth.core.keys import digest


def digests(*keys: str) -> frozenset[bytes]:
    return frozenset(digest(key.encode()) for key in keys)


def keys(**words: object) -> KeyList:
    return parse_key_list(json.dumps({"valid_keys": []} | words))


def test_the_documents_own_file() -> None:
    """seeds/001."""
    said = keys(
        valid_keys=["demo-key-12345", "prod-key-67890"],
        require_auth_for_external=True,
        local_networks=["127.0.0.1", "localhost", "::1"],
    )
    assert said.digests == digests("demo-key-12345", "prod-key-67890")
    assert said.require_auth is True
    assert said.local_networks == (ip_network("127.0.0.1/32"), ip_network("::1/128"))
    assert said.left_out == ()


def test_what_is_absent_is_the_strict_side() -> None:
    assert parse_key_list('{"valid_keys": ["one"]}') == KeyList(digests("one"), True, (), ())


@pytest.mark.parametrize(
    ("entries", "networks"),
    [
        (["127.0.0.1"], ["127.0.0.1/32"]),
        (["::1"], ["::1/128"]),
        (["localhost"], ["127.0.0.1/32", "::1/128"]),
        ([" localhost "], ["127.0.0.1/32", "::1/128"]),
        (["10.1.2.3/8"], ["10.0.0.0/8"]),
        (["2001:db8::7/32"], ["2001:db8::/32"]),
        (["::ffff:10.0.0.0/104"], ["10.0.0.0/8"]),
        (["192.0.2.1", "198.51.100.0/24"], ["192.0.2.1/32", "198.51.100.0/24"]),
    ],
)
def test_networks_are_addresses_networks_and_localhost(entries: list[str], networks: list[str]) -> None:
    said = keys(local_networks=entries)
    assert [str(network) for network in said.local_networks] == networks
    assert said.left_out == ()


@pytest.mark.parametrize(
    "entry", ["", "everybody", "10.0.0.0/99", "10.0.0", "private", "loopback", "fe80::1%eth0", 123, True, None, ["::1"]]
)
def test_a_network_that_is_none_is_left_out_and_told_by_its_place(entry: object) -> None:
    """Attack on the operator: a word that is taken for a network, as the number 123 would be for 0.0.0.123."""
    said = keys(local_networks=["192.0.2.1", entry])
    assert said.local_networks == (ip_network("192.0.2.1/32"),)
    assert said.left_out == ("local_networks[1] is no address, network or localhost",)


def test_blanks_are_trimmed_and_what_is_only_blank_is_no_key() -> None:
    """Attack: an empty key in the file lets in who sends an empty header (THREATS 52)."""
    said = keys(valid_keys=["", " ", "\n\t", " one ", "two\n", "one"])
    assert said.digests == digests("one", "two")
    assert said.left_out == ()
    assert keys(valid_keys=[""]).digests == frozenset()


@pytest.mark.parametrize("key", ["schlüssel", "a\nb", "a\x00b", "\ud800", "\x7f"])
def test_a_key_that_nobody_can_send_is_left_out_and_told_by_its_place(key: str) -> None:
    said = keys(valid_keys=["one", key])
    assert said.digests == digests("one")
    assert said.left_out == ("valid_keys[1] is no printable ASCII, so that nobody can send it",)


def test_a_key_with_a_blank_in_it_can_be_sent() -> None:
    assert keys(valid_keys=["pass phrase"]).digests == digests("pass phrase")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("{", "is no JSON: line 1, column 2"),
        ('{"valid_keys": ["secret', "is no JSON: line 1, column 17"),
        ("null", "is no JSON object"),
        ('["secret"]', "is no JSON object"),
        ('"secret"', "is no JSON object"),
        ("{}", "has no valid_keys"),
        ('{"keys": ["secret"]}', "has no valid_keys"),
        ('{"valid_keys": "secret"}', "valid_keys is no list"),
        ('{"valid_keys": null}', "valid_keys is no list"),
        ('{"valid_keys": {"secret": true}}', "valid_keys is no list"),
        ('{"valid_keys": ["one", 12345]}', r"valid_keys\[1\] is no text"),
        ('{"valid_keys": [null]}', r"valid_keys\[0\] is no text"),
        ('{"valid_keys": [["secret"]]}', r"valid_keys\[0\] is no text"),
        ('{"valid_keys": [], "require_auth_for_external": "false"}', "require_auth_for_external is neither"),
        ('{"valid_keys": [], "require_auth_for_external": 0}', "require_auth_for_external is neither"),
        ('{"valid_keys": [], "require_auth_for_external": null}', "require_auth_for_external is neither"),
        ('{"valid_keys": [], "local_networks": "127.0.0.1"}', "local_networks is no list"),
        ('{"valid_keys": [], "local_networks": null}', "local_networks is no list"),
        ('{"valid_keys": ["secret"], "valid_keys": []}', "has the same word twice"),
        ('{"valid_keys": [], "x": {"secret": 1, "secret": 1}}', "has the same word twice"),
        ('{"valid_keys": [], "x": NaN}', "which is no JSON"),
        ('{"valid_keys": [], "x": ' + "1" * 5000 + "}", "a number that is too long"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("\x00", "is no JSON"),
        ("<html>secret</html>", "is no JSON"),
    ],
)
def test_a_broken_file_is_told_without_what_it_says(text: str, said: str) -> None:
    """Attack: a file that is seen half-written, or went wrong (54762; THREATS 34, 52)."""
    with pytest.raises(ValueError, match=said) as told:
        parse_key_list(text)
    assert "secret" not in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__ or told.value.__context__ is None


@pytest.mark.parametrize(
    "document", [["a", " b "], {"keys": ["a", "b", ""]}, {"client_api_keys": ["a", "b"]}, {"keys": ["a", "b"], "x": 1}]
)
def test_a_tenants_file_has_three_shapes(document: object) -> None:
    """seeds/002."""
    assert parse_client_keys(json.dumps(document)) == ClientKeys(digests("a", "b"), ())


def test_keys_goes_before_client_api_keys() -> None:
    assert parse_client_keys('{"client_api_keys": ["a"], "keys": ["b"]}').digests == digests("b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{}", "is no list of keys, and no JSON object with keys or client_api_keys"),
        ('{"valid_keys": ["secret"]}', "is no list of keys"),
        ('"secret"', "is no list of keys"),
        ('{"keys": "secret"}', "keys is no list"),
        ('{"keys": "secret", "client_api_keys": ["a"]}', "keys is no list"),
        ('["a", 1]', r"the list of keys\[1\] is no text"),
        ('["secret', "is no JSON"),
    ],
)
def test_a_tenants_broken_file_is_told_without_what_it_says(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as told:
        parse_client_keys(text)
    assert "secret" not in str(told.value)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace")))
def test_any_text_is_a_file_or_a_mistake(text: str) -> None:
    for parse in (parse_key_list, parse_client_keys):
        with suppress(ValueError):
            assert isinstance(parse(text).digests, frozenset)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("valid_keys", "require_auth_for_external"), JSON)), JSON)
def test_any_json_is_a_file_or_a_mistake(words: dict[str, object], networks: object) -> None:
    try:
        said = keys(**words, local_networks=networks)
    except ValueError:
        return
    assert isinstance(said.require_auth, bool)
    assert all(isinstance(entry, str) for entry in words.get("valid_keys", []))  # type: ignore[attr-defined]


@given(st.integers(0, 200))
def test_a_file_that_is_cut_is_broken(length: int) -> None:
    """Attack: come in by what a half-written file seems to say (THREATS 52)."""
    whole = json.dumps({"valid_keys": ["long-key-1", "long-key-2"], "require_auth_for_external": False})
    if length < len(whole):
        with pytest.raises(ValueError, match=r"is no JSON|is empty"):
            parse_key_list(whole[:length])


def test_no_repr_holds_a_digest() -> None:
    said = keys(valid_keys=["one"])
    assert digest(b"one").hex() not in repr(said)
    assert str(digest(b"one")) not in repr(said)
    assert "digests" not in repr(said) + repr(parse_client_keys('["one"]'))


@pytest.mark.parametrize("name", ["a", "default", "your-train-id", "a.b:c_d-E9", "..", "x" * 128])
def test_a_tenants_name(name: str) -> None:
    assert TENANT.fullmatch(name)


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "../a", "a\n", "ä", "a\x00", "a\\b", "%2e", "x" * 129])
def test_what_is_no_tenants_name(name: str) -> None:
    assert not TENANT.fullmatch(name)
