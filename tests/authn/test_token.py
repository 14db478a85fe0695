"""Tokens of the configuration: looked up by digest, ending at a moment, limited by themselves."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.model import Identity, Now, Rejected, Verdict
from forwardauth.core.rate import parse_limit
from forwardauth.stores.facts import FactCache
from tests.building import Bench, bearer, client, fields, mistakes, snapshot, word

NO_FACTS = FactCache(lambda: 0.0)
END = 1_801_353_600.0
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

CONFIGURATION = f"""
authenticators:
  ci:
    token:
      from: [bearer, {{header: X-API-Token}}, {{cookie: key}}]
      rate: 100/h
      tokens:
        - {{name: plain, value: plain-secret}}
        - {{name: hashed, sha256: {sha256(b"hashed-secret").hexdigest()}}}
        - {{name: shouted, sha256: {sha256(b"shouted-secret").hexdigest().upper()}}}
        - {{name: ending, value: ending-secret, expires: 2027-01-31}}
        - {{name: endless, value: endless-secret, expires: never, rate: 5/m}}
        - {{name: scoped, value: scoped-secret, scopes: [{{path: /v1/*, methods: [POST]}}]}}
        - {{name: shaped, value: {JWT}}}
routes: [{{path: /*, require: ci}}]
"""
CI = snapshot(CONFIGURATION).authenticators["ci"]


def judge(*headers: tuple[str, str], wall: float = 0.0) -> Verdict:
    return CI.judge(fields(*headers), client(), NO_FACTS, Now(wall, 0.0))


def said(verdict: Verdict) -> str | None:
    if isinstance(verdict, Identity):
        return verdict.key
    return verdict.denial.reason.word if isinstance(verdict, Rejected) else None


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        pytest.param([bearer("plain-secret")], "plain", id="its value"),
        pytest.param([bearer("hashed-secret")], "hashed", id="its SHA-256"),
        pytest.param([bearer("shouted-secret")], "shouted", id="its SHA-256 in capitals"),
        pytest.param([("X-API-Token", "plain-secret")], "plain", id="another source"),
        pytest.param([("Cookie", "a=b; key=plain-secret")], "plain", id="a cookie"),
        pytest.param([bearer("Plain-secret")], "invalid_credential", id="case matters"),
        pytest.param([bearer("plain-secre")], "invalid_credential", id="a beginning"),
        pytest.param([bearer("plain-secrett")], "invalid_credential", id="more than it"),
        pytest.param([bearer(sha256(b"plain-secret").hexdigest())], "invalid_credential", id="its digest"),
        pytest.param([], None, id="nothing"),
        pytest.param([("Authorization", "Basic Ym9iOng=")], None, id="only somebody else's"),
        pytest.param([bearer(JWT)], "shaped", id="a token of ours in the shape of a JWT"),
        pytest.param([bearer(JWT + "x")], None, id="a JWT of somebody else"),
        pytest.param([bearer("sk-ant-oat01-x")], None, id="a provider's token"),
        pytest.param([bearer("sk-ant-oat01-x"), ("X-API-Token", "plain-secret")], "plain", id="a provider's beside it"),
        pytest.param([bearer("x"), ("X-API-Token", "plain-secret")], "invalid_credential", id="unknown before known"),
        pytest.param([bearer("plain-secret"), ("X-API-Token", "x")], "plain", id="known before unknown"),
        pytest.param(
            [bearer("plain-secret"), ("X-API-Token", "hashed-secret")], "ambiguous_credentials", id="two known ones"
        ),
        pytest.param(
            [("X-API-Token", "plain-secret"), ("Cookie", "key=hashed-secret")],
            "ambiguous_credentials",
            id="in a cookie",
        ),
        pytest.param([bearer("plain-secret"), ("X-API-Token", "plain-secret")], "plain", id="the same one twice"),
        pytest.param([("X-API-Token", "' OR 1=1--")], "invalid_credential", id="an injection"),
        pytest.param([("X-API-Token", "*")], "invalid_credential", id="a glob"),
        pytest.param([("X-API-Token", "../../etc/passwd")], "invalid_credential", id="a path"),
        pytest.param([("X-API-Token", "x" * 32_000)], "invalid_credential", id="32 kB"),
    ],
)
def test_the_first_value_that_is_nobody_elses_decides(headers: list[tuple[str, str]], answer: str | None) -> None:
    assert said(judge(*headers)) == answer


@given(st.text(st.characters(codec="latin-1", categories=("L", "N", "P")), max_size=40))
def test_no_other_value_is_ever_known(value: str) -> None:
    assert said(judge(("X-API-Token", value))) in (None, "invalid_credential")


def test_it_ends_at_the_moment_and_says_so_without_counting() -> None:
    assert said(judge(bearer("ending-secret"), wall=END - 0.001)) == "ending"
    verdict = judge(bearer("ending-secret"), wall=END)
    assert isinstance(verdict, Rejected)
    assert (verdict.denial.reason.word, verdict.denial.code, verdict.denial.reason.counts) == (
        "expired_credential",
        "invalid_token",
        False,
    )
    assert said(judge(bearer("endless-secret"), wall=1e12)) == "endless"


def test_its_identity_is_its_name_and_nothing_else() -> None:
    identity = judge(bearer("plain-secret"))
    assert isinstance(identity, Identity)
    assert (identity.key, identity.authenticators) == ("plain", ("ci",))
    assert (identity.user, identity.email, identity.groups, identity.tenant) == ("", "", (), "")


def test_its_own_rate_replaces_the_authenticators() -> None:
    limits = [judge(bearer(f"{name}-secret")) for name in ("plain", "endless")]
    assert [one.limit for one in limits if isinstance(one, Identity)] == [parse_limit("100/h"), parse_limit("5/m")]


def test_it_is_ambient_only_from_a_cookie() -> None:
    for header, ambient in ((bearer("plain-secret"), False), (("Cookie", "key=plain-secret"), True)):
        identity = judge(header)
        assert isinstance(identity, Identity)
        assert identity.ambient is ambient
        assert identity.credential == "ci\nplain"


@pytest.mark.parametrize(
    ("header", "value", "foreign"),
    [
        (b"authorization", b"Bearer plain-secret", False),
        (b"authorization", b"Bearer unknown", False),
        (b"authorization", b"Basic Ym9iOng=", True),
        (b"authorization", f"Bearer {JWT}".encode(), False),
        (b"authorization", f"Bearer {JWT}x".encode(), True),
        (b"x-api-token", b"sk-ant-oat01-x", True),
        (b"x-other", b"anything", None),
    ],
)
def test_what_is_foreign_is_somebody_elses_and_never_ours(header: bytes, value: bytes, foreign: bool | None) -> None:
    """`pass_credentials: foreign` hands these on to the backend: a secret of ours must not be among them."""
    assert CI.foreign(header, value) is foreign


def test_the_configured_secret_is_kept_nowhere() -> None:
    """Attack: read the memory of the service, by a debugger or a crash's report."""
    assert "plain-secret" not in repr(snapshot(CONFIGURATION).settings)


TOKEN = "authenticators: {ci: {token: %s}}\nroutes: [{path: /*, require: ci}]\n"


@pytest.mark.parametrize(
    ("settings", "path", "text"),
    [
        ("{tokens: []}", "tokens", "at least one token"),
        ("{tokens: [{name: a}]}", "tokens[0]", "either value or sha256"),
        (f"{{tokens: [{{name: a, value: x, sha256: {'a' * 64}}}]}}", "tokens[0]", "either value or sha256"),
        ("{tokens: [{name: a, sha256: abc}]}", "tokens[0].sha256", "64 hex digits"),
        ("{tokens: [{name: a b, value: x}]}", "tokens[0].name", "a name of its own"),
        ("{tokens: [{name: a, value: x}, {name: a, value: y}]}", "tokens[1].name", "a name of its own"),
        ("{tokens: [{name: a, value: x}, {name: b, value: x}]}", "tokens[1]", "the same secret stands there twice"),
        (
            f"{{tokens: [{{name: a, value: x}}, {{name: b, sha256: {sha256(b'x').hexdigest()}}}]}}",
            "tokens[1]",
            "the same secret stands there twice",
        ),
        ("{tokens: [{name: a, value: ''}]}", "tokens[0].value", "the secret is empty"),
        ("{tokens: [{name: a, value: 'a b'}]}", "tokens[0].value", "printable ASCII without spaces"),
        ("{tokens: [{name: a, value: 12345}]}", "tokens[0].value", "put it in quotes"),
        ("{tokens: [{name: a, value: x, expires: soon}]}", "tokens[0].expires", "expected a date"),
        ("{tokens: [{name: a, value: x, rate: often}]}", "tokens[0].rate", "expected a rate"),
        ("{tokens: [{name: a, value: x, scopes: [{path: v1}]}]}", "tokens[0].scopes[0].path", "begins with /"),
        ("{tokens: [{name: a, value: x, scopes: [{path: /a*b}]}]}", "tokens[0].scopes[0].path", "only at its end"),
        (
            "{tokens: [{name: a, value: x, scopes: [{path: /a, methods: [get]}]}]}",
            "tokens[0].scopes[0].methods[0]",
            "in capitals",
        ),
        ("{rate: often, tokens: [{name: a, value: x}]}", "rate", "expected a rate"),
        ("{from: [cookies], tokens: [{name: a, value: x}]}", "from[0]", "expected bearer"),
        ("{from: [], tokens: [{name: a, value: x}]}", "from", "at least one place"),
        ("{from: [bearer, {header: authorization}], tokens: [{name: a, value: x}]}", "from[1]", "twice"),
    ],
)
def test_a_mistake_has_its_path_and_what_was_expected(settings: str, path: str, text: str) -> None:
    found = mistakes(TOKEN.replace("%s", settings))
    assert list(found) == [f"authenticators.ci.token.{path}"]
    assert text in found[f"authenticators.ci.token.{path}"]


def test_a_header_called_authorization_means_bearer() -> None:
    bench = Bench(TOKEN.replace("%s", "{from: [{header: AUTHORIZATION}], tokens: [{name: a, value: x}]}"))
    assert word(bench.ask("GET", "https://a.example/", bearer("x"))) == "allow"
    assert word(bench.ask("GET", "https://a.example/", ("Authorization", "x"))) == "missing_credential"
