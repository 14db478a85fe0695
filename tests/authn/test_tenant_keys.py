"""The keys of tenants: one tenant's is worth nothing for another, and no name leads out of the folder."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.config.materials import Records
from forwardauth.core.model import Authenticator, Identity, Now, Rejected, Verdict
from forwardauth.core.rate import parse_limit
from forwardauth.stores.facts import FactCache
from tests.building import Bench, bearer, client, failures, fields, mistakes, snapshot, word

NO_FACTS = FactCache(lambda: 0.0)
URL = "http://proxy:3000/v1/messages"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
TRAIN = "MSL-Train-Id"
# seeds/002: the document's own train and key.
KEY = "cnp_live_your_generated_key"
FILES: dict[str, object] = {
    "your-train-id": {"keys": [KEY]},
    "train-alpha": ["alpha-key", " padded ", ""],
    "train-beta": {"client_api_keys": ["beta-key", "shared-key"]},
    "a.b:c_d": ["odd-key", "shared-key"],
    "default": ["default-key"],
    "empty": [],
}


def configured(folder: Path, words: str = "") -> str:
    return f"""
authenticators: {{train: {{tenant_keys: {{directory: {folder}, {words}}}}}}}
routes: [{{path: /*, require: train}}]
errors: anthropic
"""


def lay(folder: Path, files: dict[str, object] = FILES) -> Path:
    folder.mkdir(exist_ok=True)
    for tenant, document in files.items():
        text = document if isinstance(document, str) else json.dumps(document)
        (folder / f"{tenant}.client-keys.json").write_text(text)
    return folder


class Live:
    """An authenticator whose files a test changes."""

    def __init__(self, folder: Path, words: str = "") -> None:
        self.folder = folder
        self.records = Records()
        self.snapshot = snapshot(configured(folder, words), records=self.records)
        self.authenticator: Authenticator = self.snapshot.authenticators["train"]

    def judge(self, *headers: tuple[str, str]) -> Verdict:
        return self.authenticator.judge(fields(*headers), client(), NO_FACTS, Now(0.0, 0.0))

    def ask(self, tenant: str | None, key: str | None) -> str | None:
        """The tenant that passes, or why not; None where nothing was presented."""
        headers = [] if tenant is None else [(TRAIN, tenant)]
        verdict = self.judge(*headers, *([] if key is None else [bearer(key)]))
        if isinstance(verdict, Identity):
            return verdict.tenant
        return verdict.denial.reason.word if isinstance(verdict, Rejected) else None

    def refresh(self) -> None:
        self.records.key_files.refresh()


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(lay(tmp_path / "train-client-keys"))


def test_the_documents_own_call(tmp_path: Path) -> None:
    """seeds/002."""
    service = Bench(configured(lay(tmp_path)))
    decision = service.ask("POST", URL, (TRAIN, "your-train-id"), bearer(KEY))
    assert word(decision) == "allow"
    identity = decision.identity
    assert (identity.tenant, identity.user, identity.authenticators) == ("your-train-id", "", ("train",))
    assert identity.key == f"sha256:{sha256(KEY.encode()).hexdigest()[:12]}"
    assert not identity.ambient


def test_the_tenants_header_is_read_and_held_to_one_line(tmp_path: Path) -> None:
    """Attack: two tenants in one request, the one for us and the other for the backend (THREATS 3)."""
    service = Bench(configured(lay(tmp_path)))
    twice = service.ask("POST", URL, (TRAIN, "your-train-id"), (TRAIN, "train-alpha"), bearer(KEY))
    assert twice.denial is not None
    assert twice.denial.reason.status == 400
    assert word(service.ask("POST", URL, ("MSL_Train_Id", "your-train-id"), bearer(KEY))) == "lookalike_header"


@pytest.mark.parametrize("tenant", FILES)
@pytest.mark.parametrize("key", [KEY, "alpha-key", "padded", "beta-key", "odd-key", "shared-key", "default-key"])
def test_a_key_of_one_tenant_is_worth_nothing_for_another(live: Live, tenant: str, key: str) -> None:
    """Attack: a tenant's own key with another tenant's name."""
    document = FILES[tenant]
    listed = next(iter(document.values())) if isinstance(document, dict) else document
    assert isinstance(listed, list)
    owns = key in {each.strip() for each in listed}
    assert live.ask(tenant, key) == (tenant if owns else "invalid_credential")


def test_a_key_of_two_tenants_is_two_credentials(live: Live) -> None:
    one = live.judge((TRAIN, "train-beta"), bearer("shared-key"))
    two = live.judge((TRAIN, "a.b:c_d"), bearer("shared-key"))
    assert isinstance(one, Identity)
    assert isinstance(two, Identity)
    assert (one.tenant, two.tenant) == ("train-beta", "a.b:c_d")
    assert one.credential != two.credential
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize("tenant", [None, "", " ", "\t"])
def test_no_tenant_is_the_default_tenant(live: Live, tenant: str | None) -> None:
    assert live.ask(tenant, "default-key") == "default"
    assert live.ask(tenant, "alpha-key") == "invalid_credential"


def test_the_default_tenant_is_a_setting(tmp_path: Path) -> None:
    live = Live(lay(tmp_path / "keys"), "default_tenant: train-alpha")
    assert live.ask(None, "alpha-key") == "train-alpha"
    assert live.ask(None, "default-key") == "invalid_credential"


def test_a_default_tenant_without_a_file_knows_no_key(tmp_path: Path) -> None:
    live = Live(lay(tmp_path / "keys", {"alpha": ["a"]}))
    assert live.ask(None, "a") == "invalid_credential"
    assert live.ask(None, None) is None


NAMES = [
    "nobody",
    "Train-Alpha",
    "../train-alpha",
    "..%2ftrain-alpha",
    "train-alpha/../train-beta",
    "/etc/passwd",
    "train-alpha.client-keys.json",
    "train-alpha\x00",
    "train alpha",
    "*",
    "train-*",
    "ünïcode",
    "x" * 129,
    "x" * 32_000,
    ".",
    "..",
    "train-alpha,train-beta",
]


@pytest.mark.parametrize("tenant", NAMES)
def test_a_tenant_without_a_file_or_with_no_name_is_a_wrong_credential(live: Live, tenant: str) -> None:
    """Attack: names that lead to another file, or to none (THREATS 25)."""
    assert live.ask(tenant, "alpha-key") == "invalid_credential"
    assert live.ask(tenant, None) is None


def test_a_file_outside_the_folder_is_out_of_reach(tmp_path: Path) -> None:
    """Attack: `../outside` as a tenant (THREATS 25)."""
    lay(tmp_path, {"outside": ["outside-key"]})
    live = Live(lay(tmp_path / "keys"))
    for tenant in ("outside", "../outside", "./../outside", str(tmp_path / "outside")):
        assert live.ask(tenant, "outside-key") == "invalid_credential"


@given(st.text(max_size=40).filter(lambda name: name.strip(" \t") not in {*FILES, ""}))
def test_no_other_name_is_a_tenant(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    global _SHARED
    if _SHARED is None:
        _SHARED = Live(lay(tmp_path_factory.mktemp("keys")))
    view = fields(bearer("alpha-key"))
    view.fields[b"msl-train-id"] = name.encode("utf-8", "surrogatepass")
    verdict = _SHARED.authenticator.judge(view, client(), NO_FACTS, Now(0.0, 0.0))
    assert isinstance(verdict, Rejected)


_SHARED: Live | None = None


def test_wrong_tenants_and_wrong_keys_count(tmp_path: Path) -> None:
    service = Bench(configured(lay(tmp_path)))
    guesses = [(TRAIN, "nobody"), (TRAIN, "../etc"), (TRAIN, "train-alpha"), (TRAIN, "train-beta"), (TRAIN, "empty")]
    for guess in guesses:
        decision = service.ask("POST", URL, guess, bearer(KEY))
        assert word(decision) == "invalid_credential"
        assert len(failures(decision)) == 1
    assert word(service.ask("POST", URL, (TRAIN, "train-alpha"), bearer("alpha-key"))) == "locked_out"


@pytest.mark.parametrize("text", ["", "{", '"abc"', '{"keys": "alpha-key"}', "[1]", "{}"])
def test_a_broken_file_is_503_for_its_tenant_alone(tmp_path: Path, text: str) -> None:
    """Attack: a half-written file, which must neither open nor lock anybody out (THREATS 34, 52)."""
    service = Bench(configured(lay(tmp_path, FILES | {"train-alpha": text})))
    for _ in range(9):
        for headers in ([bearer("alpha-key")], []):
            decision = service.ask("POST", URL, (TRAIN, "train-alpha"), *headers)
            assert (word(decision), decision.events) == ("unavailable", ())
    assert word(service.ask("POST", URL, (TRAIN, "train-beta"), bearer("beta-key"))) == "allow"
    assert word(service.ask("POST", URL, (TRAIN, "train-beta"), bearer("alpha-key"))) == "invalid_credential"


def test_a_missing_folder_is_503_for_everybody(tmp_path: Path) -> None:
    service = Bench(configured(tmp_path / "none"))
    for headers in ([], [bearer(KEY)], [(TRAIN, "nobody"), bearer(KEY)], [(TRAIN, "../x"), bearer(KEY)]):
        decision = service.ask("POST", URL, *headers)
        assert (word(decision), decision.events) == ("unavailable", ())


def test_tenants_and_keys_come_and_go(tmp_path: Path) -> None:
    """seeds/002: the files are read at every request."""
    live = Live(tmp_path / "keys")
    assert live.ask("alpha", "one") == "unavailable"
    lay(live.folder, {"alpha": ["one"]})
    live.refresh()
    assert live.ask("alpha", "one") == "alpha"
    lay(live.folder, {"alpha": ["two"], "beta": ["one"]})
    live.refresh()
    assert (live.ask("alpha", "one"), live.ask("beta", "one")) == ("invalid_credential", "beta")
    (live.folder / "beta.client-keys.json").unlink()
    live.refresh()
    assert live.ask("beta", "one") == "invalid_credential"
    assert live.ask("alpha", "two") == "alpha"


def test_the_challenge_names_the_realm(tmp_path: Path) -> None:
    """seeds/002: the program's own challenge."""
    service = Bench(configured(lay(tmp_path), "realm: Agent Prompt Train"))
    decision = service.ask("POST", URL, (TRAIN, "train-alpha"))
    assert decision.denial is not None
    assert decision.denial.challenge == 'Bearer realm="Agent Prompt Train"'
    wrong = service.ask("POST", URL, (TRAIN, "train-alpha"), bearer("x"))
    assert wrong.denial is not None
    assert wrong.denial.challenge.startswith('Bearer realm="Agent Prompt Train"')


def test_every_key_has_a_rate_of_its_own(tmp_path: Path) -> None:
    service = Bench(configured(lay(tmp_path), "rate: 2/m"))
    beta = [word(service.ask("POST", URL, (TRAIN, "train-beta"), bearer("shared-key"))) for _ in range(3)]
    assert beta == ["allow", "allow", "rate_limited"]
    assert word(service.ask("POST", URL, (TRAIN, "a.b:c_d"), bearer("shared-key"))) == "allow"
    passed = service.ask("POST", URL, (TRAIN, "train-alpha"), bearer("alpha-key"))
    assert passed.identity.limit == parse_limit("2/m")


def test_the_header_of_the_tenant_is_a_setting_and_is_told(tmp_path: Path) -> None:
    live = Live(lay(tmp_path / "keys"), "tenant_header: X-Tenant, from: [{header: X-API-Key}]")
    assert live.authenticator.reads == ("X-Tenant",)
    verdict = live.judge(("X-Tenant", "train-alpha"), ("X-API-Key", "alpha-key"))
    assert isinstance(verdict, Identity)
    assert verdict.tenant == "train-alpha"


def test_a_foreign_value_is_skipped_unless_it_is_some_tenants_key(tmp_path: Path) -> None:
    judged = Live(lay(tmp_path / "keys", {"alpha": [JWT], "broken": "{"})).authenticator
    assert judged.foreign(b"authorization", f"Bearer {JWT}".encode()) is False
    assert judged.foreign(b"authorization", f"Bearer {JWT}x".encode()) is True
    assert judged.foreign(b"x-api-key", b"x") is None


def test_nothing_of_it_shows_a_key(live: Live) -> None:
    shown = repr((live.judge(bearer("wrong-secret")), live.authenticator, vars(live.authenticator)))
    assert "wrong-secret" not in shown
    assert "alpha-key" not in shown


@pytest.mark.parametrize(
    ("words", "directory", "at"),
    [
        ("", '""', "directory"),
        ("", '"a\\0b"', "directory"),
        ("tenant_header: MSL_Train_Id", "k", "tenant_header"),
        ("tenant_header: ''", "k", "tenant_header"),
        ("default_tenant: ''", "k", "default_tenant"),
        ("default_tenant: ../x", "k", "default_tenant"),
        ("from: []", "k", "from"),
        ("rate: often", "k", "rate"),
        ("realm: 'a\"b'", "k", "realm"),
    ],
)
def test_a_mistake_has_its_path(words: str, directory: str, at: str) -> None:
    text = configured(Path("/k"), words).replace("directory: /k", f"directory: {directory}")
    assert list(mistakes(text)) == [f"authenticators.train.tenant_keys.{at}"]
