"""The keys of `api_keys.json`: who passes by a key, by an address, by the switch, and what closes."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from forwardauth.config.materials import Records
from forwardauth.core.model import Authenticator, Identity, Now, Rejected, Verdict
from forwardauth.core.rate import parse_limit
from forwardauth.replies.detail import render
from forwardauth.stores.facts import FactCache
from tests.building import Bench, bearer, client, failures, fields, mistakes, snapshot, who, word

NO_FACTS = FactCache(lambda: 0.0)
URL = "https://api.example.com/infer"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

# seeds/001: the document's own file, body and keys.
ORCHESTRA = {
    "valid_keys": ["demo-key-12345", "prod-key-67890", "iszcx8YNM7xqyo_lj-_iD8vMODMfW7xc"],
    "require_auth_for_external": True,
    "local_networks": ["127.0.0.1", "localhost", "::1"],
}
BODY = b'{"detail": "Invalid or missing API key. Please provide a valid X-API-Key header."}'
DEMO = ("X-API-Key", "demo-key-12345")


def name_of(key: str) -> str:
    return f"sha256:{sha256(key.encode()).hexdigest()[:12]}"


def configured(words: str = "", path: str = "api_keys.json") -> str:
    return f"""
authenticators: {{orchestra: {{key_file: {{path: {path}, {words}}}}}}}
routes: [{{path: /*, require: orchestra}}]
errors: detail
"""


def bench(text: str = "", words: str = "") -> Bench:
    """A service whose file says this; without a text there is none."""
    return Bench(configured(words), files={"api_keys.json": text} if text else {})


def orchestra(**words: object) -> str:
    return json.dumps(ORCHESTRA | words)


def test_a_block_tells_a_neighbour_nothing_about_keys() -> None:
    """Attack: be blocked on purpose elsewhere, and guess on where neighbours pass without a key (THREATS 22)."""
    text = """
        authenticators:
          orchestra: {key_file: {path: api_keys.json}}
          ci: {token: {tokens: [{name: ci, value: a-token}]}}
        routes: [{path: /ci, require: ci}, {path: /*, require: orchestra}]
    """
    asked = Bench(text, files={"api_keys.json": orchestra(local_networks=["192.0.2.0/24"])})
    assert asked.ask("POST", URL, DEMO).identity.key == name_of(DEMO[1])
    for _ in range(5):
        asked.ask("POST", "https://api.example.com/ci", bearer("guess"))
    told = {
        value: asked.ask("POST", URL, *([("X-API-Key", value)] if value else []))
        for value in ("", "a-guess", "prod-key-67890")
    }
    assert {(word(decision), who(decision)) for decision in told.values()} == {("allow", ("", "", "orchestra"))}
    # This one was allowed from here before.
    assert asked.ask("POST", URL, DEMO).identity.key == name_of(DEMO[1])


class Live:
    """An authenticator whose file a test changes."""

    def __init__(self, path: Path, words: str = "") -> None:
        self.path = path
        self.records = Records()
        self.snapshot = snapshot(configured(words, str(path)), records=self.records)
        self.authenticator: Authenticator = self.snapshot.authenticators["orchestra"]

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.records.key_files.refresh()

    def judge(self, *headers: tuple[str, str], address: str = "192.0.2.1", further_hops: bool = False) -> Verdict:
        view = fields(*headers)
        return self.authenticator.judge(view, client(address, further_hops), NO_FACTS, Now(0.0, 0.0))


def said(verdict: Verdict) -> str | None:
    """The key, `nobody`, or why not."""
    if isinstance(verdict, Identity):
        return verdict.key or "nobody"
    return verdict.denial.reason.word if isinstance(verdict, Rejected) else None


# The document's own calls.


@pytest.mark.parametrize("key", ORCHESTRA["valid_keys"])  # type: ignore[arg-type]
def test_a_key_of_the_file_passes_from_anywhere(key: str) -> None:
    """seeds/001: external access."""
    decision = bench(orchestra()).ask("POST", URL, ("X-API-Key", key))
    assert word(decision) == "allow"
    assert who(decision) == ("", name_of(key), "orchestra")
    assert not decision.identity.ambient


@pytest.mark.parametrize("headers", [[], [("X-API-Key", "wrong")], [("X-API-Key", "")]], ids=["none", "wrong", "empty"])
def test_without_a_right_key_it_is_the_documents_401(headers: list[tuple[str, str]]) -> None:
    """seeds/001: one status and one body for a missing key and a wrong one."""
    decision = bench(orchestra()).ask("POST", URL, *headers)
    assert decision.denial is not None
    assert decision.denial.reason.status == 401
    assert render(decision.denial) == BODY
    assert decision.denial.challenge == 'ApiKey realm="forwardauth", header="X-API-Key"'


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_local_client_needs_no_key(address: str) -> None:
    """seeds/001: local access."""
    decision = bench(orchestra()).ask("POST", URL, client=address)
    assert word(decision) == "allow"
    assert who(decision) == ("", "", "orchestra")
    assert decision.identity.ambient


# Who is near.


@pytest.mark.parametrize(
    ("networks", "address", "passes"),
    [
        (["127.0.0.1"], "127.0.0.1", True),
        (["127.0.0.1"], "::1", False),
        (["127.0.0.1"], "127.0.0.2", False),
        (["::1"], "127.0.0.1", False),
        (["localhost"], "127.0.0.1", True),
        (["localhost"], "::1", True),
        (["localhost"], "127.0.0.2", False),
        (["10.1.2.3/8"], "10.9.9.9", True),
        (["10.1.2.3/8"], "::ffff:10.9.9.9", True),
        (["10.1.2.3/8"], "11.0.0.1", False),
        (["2001:db8::/32"], "2001:db8:1::1", True),
        (["everything"], "192.0.2.1", False),
        ([], "127.0.0.1", False),
    ],
)
def test_the_networks_of_the_file(networks: list[str], address: str, passes: bool) -> None:
    decision = bench(orchestra(local_networks=networks)).ask("POST", URL, client=address)
    assert word(decision) == ("allow" if passes else "missing_credential")


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([("Forwarded", "for=203.0.113.9")], "127.0.0.1"),
        ([("CF-Connecting-IP", "203.0.113.9")], "127.0.0.1"),
        ([("True-Client-IP", "")], "127.0.0.1"),
        ([], "203.0.113.9, 127.0.0.1"),
    ],
    ids=["Forwarded", "Cloudflare", "Akamai", "one more entry"],
)
def test_a_trace_of_a_further_hop_is_not_local(headers: list[tuple[str, str]], address: str) -> None:
    """Attack: a tunnel on the same host ends at 127.0.0.1, and everybody is local (THREATS 56)."""
    service = bench(orchestra())
    assert word(service.ask("POST", URL, *headers, client=address)) == "missing_credential"
    assert who(service.ask("POST", URL, *headers, DEMO, client=address))[1] == name_of("demo-key-12345")


def test_a_local_client_with_a_key_is_that_key() -> None:
    service = bench(orchestra())
    assert who(service.ask("POST", URL, DEMO, client="127.0.0.1"))[1] == name_of("demo-key-12345")


def test_a_local_client_with_a_wrong_key_is_nobody_and_no_failure() -> None:
    decision = bench(orchestra()).ask("POST", URL, ("X-API-Key", "wrong"), client="127.0.0.1")
    assert (word(decision), who(decision)[1], failures(decision)) == ("allow", "", [])


def test_a_foreign_page_gets_nothing_by_a_local_browser() -> None:
    """Attack: a page of another site posts by the browser of somebody who is local (THREATS 55)."""
    origin = ("Origin", "https://evil.example")
    service = bench(orchestra())
    assert word(service.ask("POST", URL, origin, client="127.0.0.1")) == "cross_site"
    assert word(service.ask("POST", URL, origin, DEMO, client="127.0.0.1")) == "allow"
    assert word(bench(orchestra(require_auth_for_external=False)).ask("POST", URL, origin)) == "cross_site"


def test_the_bypass_is_what_the_file_says_now(tmp_path: Path) -> None:
    live = Live(tmp_path / "api_keys.json")
    assert live.authenticator.bypass == ()
    live.write(orchestra(local_networks=["10.0.0.0/8", "::1"]))
    assert [str(network) for network in live.authenticator.bypass] == ["10.0.0.0/8", "::1/128"]
    live.write("")
    assert live.authenticator.bypass == ()


# The switch.


def test_without_the_requirement_everybody_passes_and_a_key_is_known() -> None:
    """seeds/001: toggle-auth."""
    service = bench(orchestra(require_auth_for_external=False))
    assert who(service.ask("POST", URL)) == ("", "", "orchestra")
    wrong = service.ask("POST", URL, ("X-API-Key", "wrong"))
    assert (word(wrong), who(wrong)[1], failures(wrong)) == ("allow", "", [])
    assert who(service.ask("POST", URL, DEMO))[1] == name_of("demo-key-12345")


# What closes.


@pytest.mark.parametrize("text", ["", " ", "{", '{"valid_keys": "abc"}', "{}", orchestra(require_auth_for_external=1)])
@pytest.mark.parametrize("headers", [[], [DEMO], [("X-API-Key", "abc")]], ids=["no key", "a key", "a word of it"])
@pytest.mark.parametrize("address", ["192.0.2.1", "127.0.0.1"])
def test_a_missing_or_broken_file_is_503_and_nobodys_failure(
    text: str, headers: list[tuple[str, str]], address: str
) -> None:
    """Attack: the system whose file this is lets everybody in without it (54762; THREATS 34)."""
    service = bench(text)
    for _ in range(9):
        decision = service.ask("POST", URL, *headers, client=address)
        assert word(decision) == "unavailable"
        assert decision.denial is not None
        assert decision.denial.reason.status == 503
        assert decision.events == ()


@pytest.mark.parametrize("keys", [[], [""], [" ", "\t"]])
@pytest.mark.parametrize("sent", ["", " ", "x"])
def test_a_list_without_a_key_opens_to_nobody(keys: list[str], sent: str) -> None:
    """Attack: an empty key in the list, and an empty header (THREATS 52)."""
    decision = bench(orchestra(valid_keys=keys)).ask("POST", URL, ("X-API-Key", sent))
    assert word(decision) in ("missing_credential", "invalid_credential")


def test_another_authenticators_count_does_not_grow_while_the_file_is_broken() -> None:
    """A good key must not lock its owner out, only because nobody knows it at the moment."""
    service = Bench(
        """
        authenticators:
          orchestra: {key_file: {path: api_keys.json}}
          ci: {token: {from: [{header: X-API-Key}], tokens: [{name: ci, value: other}]}}
        routes: [{path: /*, require: {any: [ci, orchestra]}}]
        """
    )
    for _ in range(9):
        decision = service.ask("POST", URL, DEMO)
        assert (word(decision), failures(decision)) == ("unavailable", [])
    assert who(service.ask("POST", URL, ("X-API-Key", "other")))[1] == "ci"


def test_wrong_keys_lock_out_and_the_right_one_does_not_count() -> None:
    service = bench(orchestra())
    assert word(service.ask("POST", URL, DEMO)) == "allow"
    said_ = [word(service.ask("POST", URL, ("X-API-Key", f"guess-{number}"))) for number in range(6)]
    assert said_ == ["invalid_credential"] * 5 + ["locked_out"]
    assert word(service.ask("POST", URL, DEMO)) == "allow"


# Changes while it runs.


def test_every_change_of_the_file_is_in_force_at_once(tmp_path: Path) -> None:
    """seeds/001: the file is read at every request."""
    live = Live(tmp_path / "api_keys.json")
    assert said(live.judge(DEMO)) == "unavailable"
    live.write(orchestra())
    assert said(live.judge(DEMO)) == name_of("demo-key-12345")
    live.write(orchestra(valid_keys=["next-key"]))
    assert said(live.judge(DEMO)) == "invalid_credential"
    assert said(live.judge(("X-API-Key", "next-key"))) == name_of("next-key")
    live.write(orchestra(local_networks=["192.0.2.0/24"]))
    assert said(live.judge()) == "nobody"
    assert said(live.judge(further_hops=True)) is None
    live.write(orchestra(local_networks=[]))
    assert said(live.judge()) is None
    live.write(orchestra(require_auth_for_external=False))
    assert said(live.judge()) == "nobody"
    live.write(orchestra()[:40])
    assert said(live.judge()) == "unavailable"
    live.write(orchestra())
    assert said(live.judge(DEMO)) == name_of("demo-key-12345")


# A key of its own.


def test_keys_are_counted_by_the_whole_digest_and_have_rates_of_their_own(tmp_path: Path) -> None:
    live = Live(tmp_path / "api_keys.json", "rate: 5/m")
    live.write(orchestra())
    one, two = live.judge(DEMO), live.judge(("X-API-Key", "prod-key-67890"))
    assert isinstance(one, Identity)
    assert isinstance(two, Identity)
    assert sha256(b"demo-key-12345").hexdigest() in one.credential
    assert one.credential != two.credential
    assert one.fingerprint != two.fingerprint
    assert one.limit == parse_limit("5/m")
    service = bench(orchestra(), "rate: 2/m")
    assert [word(service.ask("POST", URL, DEMO)) for _ in range(3)] == ["allow", "allow", "rate_limited"]
    assert word(service.ask("POST", URL, ("X-API-Key", "prod-key-67890"))) == "allow"


@pytest.mark.parametrize(
    ("words", "headers", "answer"),
    [
        ("header: X-Odd", [("X-Odd", "demo-key-12345")], True),
        ("header: X-Odd", [DEMO], False),
        ("header: Authorization", [bearer("demo-key-12345")], True),
        ("from: [bearer, {header: X-API-Key}]", [bearer("demo-key-12345")], True),
        ("from: [bearer, {header: X-API-Key}]", [bearer(JWT), DEMO], True),
        ("from: [bearer, {header: X-API-Key}]", [bearer("wrong"), DEMO], False),
        ("from: [{cookie: key}]", [("Cookie", "key=demo-key-12345")], True),
    ],
)
def test_where_the_key_stands_is_a_setting(words: str, headers: list[tuple[str, str]], answer: bool) -> None:
    decision = bench(orchestra(), words).ask("GET", URL, *headers)
    assert (word(decision) == "allow") is answer
    if answer:
        assert who(decision)[1] == name_of("demo-key-12345")


def test_two_keys_of_the_file_are_ambiguous_even_for_a_neighbour() -> None:
    service = bench(orchestra(require_auth_for_external=False), "from: [bearer, {header: X-API-Key}]")
    asked = service.ask("POST", URL, bearer("prod-key-67890"), DEMO, client="127.0.0.1")
    assert word(asked) == "ambiguous_credentials"


def test_a_foreign_value_is_skipped_unless_it_is_a_key(tmp_path: Path) -> None:
    live = Live(tmp_path / "api_keys.json", "from: [bearer]")
    live.write(orchestra(valid_keys=[JWT]))
    judged = live.authenticator
    assert judged.foreign(b"authorization", f"Bearer {JWT}".encode()) is False
    assert judged.foreign(b"authorization", f"Bearer {JWT}x".encode()) is True
    assert judged.foreign(b"x-api-key", b"x") is None


def test_nothing_of_it_shows_a_key(tmp_path: Path) -> None:
    live = Live(tmp_path / "api_keys.json")
    live.write(orchestra())
    verdict = live.judge(("X-API-Key", "wrong-secret"))
    shown = repr((verdict, live.judge(DEMO), live.authenticator, vars(live.authenticator), live.snapshot.settings))
    assert "demo-key" not in shown
    assert "wrong-secret" not in shown


@pytest.mark.parametrize(
    ("words", "path", "at"),
    [
        ("", '""', "path"),
        ("", '"a\\0b"', "path"),
        ("header: X_Key", "k", "header"),
        ("header: Cookie", "k", "header"),
        ("header: ''", "k", "header"),
        ("header: X-Odd, from: [bearer]", "k", "header"),
        ("from: [nowhere]", "k", "from[0]"),
        ("rate: often", "k", "rate"),
    ],
)
def test_a_mistake_has_its_path(words: str, path: str, at: str) -> None:
    assert list(mistakes(configured(words, path))) == [f"authenticators.orchestra.key_file.{at}"]
