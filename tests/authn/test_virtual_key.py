"""Keys of the database, judged from the index in memory: known, mistyped, revoked, expired, foreign, ambiguous."""

import base64
import random

import pytest

from forwardauth.authn.virtual_key import VirtualKey
from forwardauth.config.materials import Records
from forwardauth.core.key_index import ACTIVE, DISABLED, REVOKED, Row
from forwardauth.core.keys import KeyFormat, Pepper, digest
from tests.building import Bench, bearer, mistakes, who, word

NOW = 1_800_000_000.0
OURS = KeyFormat("fa_")
# The same in every worker: they stand in the names of tests.
KEY, OTHER, STRANGER = (OURS.mint(chance) for chance in [random.Random(4).randrange] * 3)
TYPO = KEY.key[:-8] + ("A" if KEY.key[-8] != "A" else "B") + KEY.key[-7:]
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

CONFIGURATION = """
database: sqlite:///keys.db
authenticators:
  keys:
    virtual_key: {from: [bearer, {header: X-API-Key}, basic, {cookie: key}, {query: api_key}], rate: 100/h}
  peppered:
    virtual_key: {from: [{header: X-Peppered}], pepper: "${PEPPER:-}"}
  fixed: {token: {from: [bearer], tokens: [{name: fixed, value: fixed-secret}]}}
routes:
  - {path: /peppered, require: peppered}
  - {path: /any, require: {any: [keys, fixed]}}
  - {path: /*, require: keys}
"""


def row(
    key: str,
    key_id: str,
    state: int = ACTIVE,
    expires: float | None = None,
    scopes: str = "[]",
    rate: str = "",
    pepper: Pepper | None = None,
) -> Row:
    stored = digest(key.encode()) if pepper is None else pepper.digest(digest(key.encode()))
    return stored, key_id, "ada", "alpha", expires, state, scopes, rate


def bench(*rows: Row, pepper: str = "", text: str = CONFIGURATION) -> Bench:
    records = Records()
    records.key_index.merge(records.key_index.pack(rows))
    records.key_index.ready = True
    made = Bench(text, {"PEPPER": pepper}, records=records)
    made.clock.wall = NOW
    return made


def basic_password(password: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"whoever:{password}".encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([bearer(KEY.key)], id="Bearer"),
        pytest.param([("X-API-Key", KEY.key)], id="a header"),
        pytest.param([basic_password(KEY.key)], id="the password of Basic"),
        pytest.param([("Cookie", f"a=b; key={KEY.key}")], id="a cookie"),
        pytest.param([bearer(KEY.key), ("X-API-Key", KEY.key)], id="the same in two places"),
        pytest.param([bearer("sk-ant-oat01-abc"), ("X-API-Key", KEY.key)], id="behind a provider's token"),
        pytest.param([bearer(JWT), ("X-API-Key", KEY.key)], id="behind a JWT"),
        pytest.param([basic_password("word"), ("X-API-Key", KEY.key)], id="before a password of somebody else"),
    ],
)
def test_a_known_key_is_its_owner(headers: list[tuple[str, str]]) -> None:
    decision = bench(row(KEY.key, KEY.id)).ask("GET", "https://api.example.com/", *headers)
    assert word(decision) == "allow"
    assert who(decision) == ("ada", KEY.id, "keys")
    assert decision.identity.tenant == "alpha"


def test_a_query_is_read_where_it_is_asked_for() -> None:
    asked = bench(row(KEY.key, KEY.id))
    assert word(asked.ask("GET", f"https://api.example.com/v1?a=b&api_key={KEY.key}")) == "allow"
    assert word(asked.ask("GET", f"https://api.example.com/v1?api%5Fkey={KEY.key}")) == "allow"
    twice = f"https://api.example.com/v1?api_key={KEY.key}&api_key={STRANGER.key}"
    assert word(asked.ask("GET", twice)) == "invalid_credential"


@pytest.mark.parametrize(
    ("state", "expires", "reason"),
    [
        (DISABLED, None, "disabled_credential"),
        (REVOKED, None, "revoked_credential"),
        (REVOKED, NOW - 1, "revoked_credential"),
        (ACTIVE, NOW, "expired_credential"),
        (ACTIVE, NOW + 1, "allow"),
    ],
)
def test_possession_of_a_dead_key_is_no_guess(state: int, expires: float | None, reason: str) -> None:
    """Expired, revoked and disabled are told, and never counted."""
    asked = bench(row(KEY.key, KEY.id, state, expires))
    for _ in range(8):
        assert word(asked.ask("GET", "https://api.example.com/", bearer(KEY.key))) == reason


def test_a_key_that_is_not_there_counts_and_locks_out() -> None:
    asked = bench(row(KEY.key, KEY.id))
    words = [word(asked.ask("GET", "https://api.example.com/", bearer(STRANGER.key))) for _ in range(6)]
    assert words == ["invalid_credential"] * 5 + ["locked_out"]


def test_a_typo_is_ours_and_wrong_in_every_any() -> None:
    """Of our whole format, it is nobody else's: the next member is not asked to know it, and it counts once."""
    asked = bench(row(KEY.key, KEY.id))
    words = [word(asked.ask("GET", "https://api.example.com/any", bearer(TYPO))) for _ in range(6)]
    assert words == ["invalid_credential"] * 5 + ["locked_out"]
    fresh = bench(row(KEY.key, KEY.id))
    assert word(fresh.ask("GET", "https://api.example.com/any", bearer("fixed-secret"))) == "allow"


def test_what_is_wrong_during_a_block_counts_for_nobody() -> None:
    """Attack: from one blocked /64, go on until the whole /48 is blocked (THREATS 50)."""
    asked = bench(
        row(KEY.key, "k1"), text=CONFIGURATION.replace("from: [bearer], tokens", "from: [{header: X-Fixed}], tokens")
    )
    client, fixed, typo = "2001:db8::1", ("X-Fixed", "fixed-secret"), bearer(TYPO)
    assert word(asked.ask("GET", "https://a.example/any", fixed, client=client)) == "allow"
    failing = asked.ask("GET", "https://a.example/any", fixed, typo, client=client)
    assert (word(failing), len(failing.events)) == ("allow", 1)
    for _ in range(4):
        asked.ask("GET", "https://a.example/any", typo, client=client)
    blocked = asked.ask("GET", "https://a.example/any", fixed, typo, client=client)
    assert (word(blocked), blocked.events) == ("allow", ())
    assert word(asked.ask("GET", "https://a.example/any", typo, client=client)) == "locked_out"


def test_a_typo_is_refused_even_where_the_index_knows_it() -> None:
    """The checksum is looked at first: what does not hold together is looked up nowhere."""
    assert word(bench(row(TYPO, KEY.id)).ask("GET", "https://api.example.com/", bearer(TYPO))) == "invalid_credential"


@pytest.mark.parametrize("key", ["cnp_live_abc", "sk-0123456789abcdef", "plain", "0" * 64, "a+b/c=="])
def test_an_imported_key_of_any_look_works(key: str) -> None:
    assert word(bench(row(key, KEY.id)).ask("GET", "https://api.example.com/", bearer(key))) == "allow"


@pytest.mark.parametrize("second", [OTHER.key, STRANGER.key, TYPO])
def test_two_different_keys_of_ours_are_refused(second: str) -> None:
    asked = bench(row(KEY.key, KEY.id), row(OTHER.key, OTHER.id))
    decision = asked.ask("GET", "https://api.example.com/", bearer(KEY.key), ("X-API-Key", second))
    assert word(decision) == "ambiguous_credentials"


def test_the_old_and_the_new_secret_of_one_key_are_one_key() -> None:
    asked = bench(row(KEY.key, KEY.id), row(OTHER.key, KEY.id, expires=NOW + 60))
    decision = asked.ask("GET", "https://api.example.com/", bearer(KEY.key), ("X-API-Key", OTHER.key))
    assert word(decision) == "allow"


def test_scopes_and_rate_are_the_keys_own() -> None:
    asked = bench(row(KEY.key, KEY.id, scopes='[{"path":"/v1/*","methods":["POST"]}]', rate="2/h"))
    answers = [
        word(asked.ask("POST", f"https://api.example.com{path}", bearer(KEY.key)))
        for path in ("/v2", "/v1/a", "/v1/b", "/v1/c")
    ]
    assert answers == ["insufficient_scope", "allow", "allow", "rate_limited"]


def test_a_pepper_knows_peppered_keys_and_those_from_before() -> None:
    pepper = Pepper("a pepper")
    rows = (row(KEY.key, KEY.id, pepper=pepper), row(OTHER.key, OTHER.id))
    asked = bench(*rows, pepper="a pepper")
    for known in (KEY, OTHER):
        assert word(asked.ask("GET", "https://api.example.com/peppered", ("X-Peppered", known.key))) == "allow"
    without = bench(*rows)
    assert word(without.ask("GET", "https://api.example.com/peppered", ("X-Peppered", KEY.key))) == "invalid_credential"
    stolen = pepper.digest(digest(KEY.key.encode())).hex()
    assert word(asked.ask("GET", "https://api.example.com/peppered", ("X-Peppered", stolen))) == "invalid_credential"


def test_nobody_is_let_in_before_the_database_was_read() -> None:
    asked = bench(row(KEY.key, KEY.id))
    virtual = asked.snapshot.authenticators["keys"]
    assert isinstance(virtual, VirtualKey)
    unread = Bench(CONFIGURATION, records=Records())
    for headers in ((), (bearer(KEY.key),), (bearer("guess"),)):
        assert word(unread.ask("GET", "https://api.example.com/", *headers)) == "unavailable"


def test_a_change_of_the_index_holds_at_the_next_decision() -> None:
    records = Records()
    index = records.key_index
    index.merge(index.pack([row(KEY.key, KEY.id)]))
    index.ready = True
    asked = Bench(CONFIGURATION, records=records)
    assert word(asked.ask("GET", "https://api.example.com/", bearer(KEY.key))) == "allow"
    index.merge(index.pack([row(KEY.key, KEY.id, REVOKED)]))
    assert word(asked.ask("GET", "https://api.example.com/", bearer(KEY.key))) == "revoked_credential"


def test_uses_are_noted_once_a_minute() -> None:
    asked = bench(row(KEY.key, KEY.id))
    for _ in range(3):
        asked.ask("GET", "https://api.example.com/", bearer(KEY.key))
        asked.clock.forward(25)
    assert asked.service.uses.take() == {KEY.id: NOW}
    asked.clock.forward(10)
    asked.ask("GET", "https://api.example.com/", bearer(KEY.key))
    assert asked.service.uses.take() == {KEY.id: NOW + 85}


def test_a_denied_request_is_no_use() -> None:
    asked = bench(row(KEY.key, KEY.id, scopes='[{"path":"/v1/*"}]'))
    asked.ask("GET", "https://api.example.com/v2", bearer(KEY.key))
    assert asked.service.uses.take() == {}


@pytest.mark.parametrize(
    ("settings", "path", "said"),
    [
        ("{prefix: 'a b'}", "authenticators.keys.virtual_key.prefix", "expected up to 32"),
        ("{from: [nowhere]}", "authenticators.keys.virtual_key.from[0]", "expected bearer, basic"),
        ("{from: [{query: 'a&b'}]}", "authenticators.keys.virtual_key.from[0]", "expected bearer, basic"),
        ("{rate: often}", "authenticators.keys.virtual_key.rate", "expected a rate"),
    ],
)
def test_a_mistake_has_its_path_and_what_was_expected(settings: str, path: str, said: str) -> None:
    authenticators = f"authenticators: {{keys: {{virtual_key: {settings}}}}}"
    found = mistakes(f"database: sqlite:///k.db\n{authenticators}\nroutes: [{{path: /*, require: keys}}]")
    assert list(found) == [path]
    assert said in found[path]


def test_virtual_keys_need_a_database() -> None:
    found = mistakes("authenticators: {keys: {virtual_key: {}}}\nroutes: [{path: /*, require: keys}]")
    assert "needs database:" in found["authenticators.keys.virtual_key"]


def test_no_repr_shows_the_pepper() -> None:
    asked = bench(row(KEY.key, KEY.id), pepper="hidden-pepper")
    virtual = asked.snapshot.authenticators["peppered"]
    assert "hidden-pepper" not in repr(virtual) + repr(vars(virtual)) + repr(asked.snapshot)
