"""User name and password: what is asked of the world, and what an unknown user costs."""

import pytest

from forwardauth.authn.basic import PASSWORD
from forwardauth.core.model import Identity, Need, Now, Rejected, Verdict
from forwardauth.stores.facts import FactCache, WithFresh
from tests.building import SHA_OF_PASSWORD, Bench, basic, client, fields, mistakes, snapshot, word

BCRYPT_4 = "$2b$04$abcdefghijklmnopqrstuuOd6mMWSfbMVdKqHdEI0Xgbw3sUjaBYi"
BCRYPT_6 = "$2y$06$abcdefghijklmnopqrstuuOd6mMWSfbMVdKqHdEI0Xgbw3sUjaBYi"
APR1 = "$apr1$abcdefgh$W0/jcz1BhSTfTbxH8Rqee/"
HTPASSWD = f"# people\n\nbob:{SHA_OF_PASSWORD}\nann:{BCRYPT_4}\neve:{BCRYPT_6}\nian:{APR1}\n"
CONFIGURATION = """
authenticators: {staff: {basic: {htpasswd: users.htpasswd, rate: 2/h}}}
routes: [{path: /*, require: staff}]
"""
STAFF = snapshot(CONFIGURATION, files={"users.htpasswd": HTPASSWD}).authenticators["staff"]
NO_FACTS = FactCache(lambda: 0.0)


def judge(*headers: tuple[str, str]) -> Verdict:
    return STAFF.judge(fields(*headers), client(), NO_FACTS, Now(0.0, 0.0))


def need(user: str, password: str) -> Need:
    verdict = judge(basic(user, password))
    assert isinstance(verdict, Need)
    return verdict


def test_whether_a_password_fits_is_asked_of_the_world() -> None:
    asked = need("bob", "password")
    assert (asked.fetcher, asked.args) == (PASSWORD, (SHA_OF_PASSWORD, "password", True))


@pytest.mark.parametrize("fits", [True, False])
def test_the_fact_decides(fits: bool) -> None:
    asked = need("bob", "password")
    facts = WithFresh({asked.key: fits}, NO_FACTS)
    verdict = STAFF.judge(fields(basic("bob", "password")), client(), facts, Now(0.0, 0.0))
    if fits:
        assert isinstance(verdict, Identity)
        assert (verdict.user, verdict.key, verdict.ambient, verdict.credential) == ("bob", "", True, "staff\nbob")
    else:
        assert isinstance(verdict, Rejected)
        assert (verdict.denial.reason.word, verdict.denial.code) == ("invalid_credential", "invalid_credentials")


@pytest.mark.parametrize("user", ["nobody", "", "BOB", "bob ", "bob@example.com", "' OR 1=1--"])
def test_an_unknown_user_costs_what_the_costliest_known_one_costs(user: str) -> None:
    """Attack: tell known names from unknown ones by the time of the answer (THREATS 24)."""
    asked = need(user, "password")
    assert asked.args == (BCRYPT_6, "password", False)


def test_every_user_and_password_is_a_fact_of_its_own() -> None:
    """Attack: a remembered success for somebody else, or for an old password (THREATS 23)."""
    pairs = [("bob", "password"), ("bob", "passwor"), ("ann", "password"), ("bo", "bpassword"), ("bobp", "assword")]
    changed = snapshot(CONFIGURATION, files={"users.htpasswd": HTPASSWD.replace("bob:{SHA}W", "bob:{SHA}X")})
    after = changed.authenticators["staff"].judge(fields(basic("bob", "password")), client(), NO_FACTS, Now(0.0, 0.0))
    assert isinstance(after, Need)
    keys = {need(user, password).key for user, password in pairs}
    assert len(keys | {after.key}) == 6


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Basic", None),
        ("Bearer abc", None),
        ("Basic !!!", "invalid_credential"),
        ("Basic Ym9i", "invalid_credential"),
        (basic("bob\0", "password")[1], "invalid_credential"),
        (basic("u" * 257, "password")[1], "invalid_credential"),
        (basic("bob", "p" * 1025)[1], "invalid_credential"),
    ],
    ids=["no value", "Bearer", "no base64", "no colon", "NUL", "an endless user", "an endless password"],
)
def test_what_cannot_be_right_costs_no_hash(value: str, said: str | None) -> None:
    """Attack: megabytes of password for every hash."""
    verdict = judge(("Authorization", value))
    assert (verdict.denial.reason.word if isinstance(verdict, Rejected) else verdict) == said


def test_a_success_is_remembered_and_a_failure_is_not() -> None:
    bench = Bench(CONFIGURATION, files={"users.htpasswd": HTPASSWD})
    said = [word(bench.ask("GET", "https://a.example/", basic("bob", "password"))) for _ in range(3)]
    assert said == ["allow", "allow", "rate_limited"]
    assert bench.hashes == 1
    for _ in range(2):
        assert word(bench.ask("GET", "https://a.example/", basic("bob", "wrong"))) == "invalid_credential"
    assert bench.hashes == 3


USERS = "authenticators: {staff: {basic: %s}}\nroutes: [{path: /*, require: staff}]\n"


@pytest.mark.parametrize(
    ("settings", "htpasswd", "path", "text"),
    [
        pytest.param(
            "{htpasswd: users}",
            f"ok:{APR1}\nbob:plain\n",
            ".htpasswd (line 2)",
            "bcrypt, apr1 or {SHA}",
            id="plain text",
        ),
        pytest.param(
            "{htpasswd: users}", f"ok:{APR1}\n\nbob:abJnggxhB/yWI\n", ".htpasswd (line 3)", "bcrypt", id="DES"
        ),
        pytest.param("{htpasswd: users}", f"a:{APR1}\na:{APR1}\n", ".htpasswd (line 2)", "each user once", id="twice"),
        pytest.param("{htpasswd: users}", f":{APR1}\nok:{APR1}\n", ".htpasswd (line 1)", "USER:HASH", id="nobody"),
        pytest.param("{htpasswd: users}", "# none\n", ".htpasswd", "has no user", id="an empty file"),
        pytest.param("{htpasswd: nowhere}", "", ".htpasswd", "does not exist", id="no file"),
        pytest.param("{users: ['bob:x']}", "", ".users[0]", "bcrypt", id="in the list"),
        pytest.param("{}", "", "", "expected htpasswd (a file) or users (a list)", id="nothing"),
        pytest.param("{users: []}", "", "", "expected htpasswd (a file) or users (a list)", id="an empty list"),
        pytest.param(
            "{users: ['a:$2b$31$abcdefghijklmnopqrstuuOd6mMWSfbMVdKqHdEI0Xgbw3sUjaBYi']}",
            "",
            ".users[0]",
            "bcrypt",
            id="a hash that takes days",
        ),
    ],
)
def test_a_mistake_has_its_path_and_what_was_expected(settings: str, htpasswd: str, path: str, text: str) -> None:
    found = mistakes(USERS.replace("%s", settings), files={"users": htpasswd})
    assert list(found) == [f"authenticators.staff.basic{path}"]
    assert text in found[f"authenticators.staff.basic{path}"]
    assert "plain" not in str(found)
