"""Files that are half-written, damaged or dangerous: the running configuration stays, and nobody gets in by them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.app import App
from forwardauth.config.load import Overrides
from forwardauth.config.mistakes import ConfigurationError
from forwardauth.config.risks import risks
from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from tests.attacks.gate import CHAT, own_headers
from tests.building import SHA_OF_PASSWORD, configuration, mistakes, snapshot

CONFIGURATION = """
authenticators:
  staff: {basic: {htpasswd: users}}
  ci: {token: {from: [{header: X-API-Token}], tokens: [{name: ci, value: "${file:secret}"}]}}
routes:
  - {name: staff, path: /staff, require: staff}
  - {name: rest, path: /*, require: ci}
"""
USERS = f"bob:{SHA_OF_PASSWORD}\neve:{SHA_OF_PASSWORD}\n"

DAMAGED_USERS = {
    "empty": "",
    "blank": "\n \n\t\n",
    "comments alone": "# bob\n",
    "cut in a hash": USERS[:-3],
    "cut in a name": "bob",
    "a name without a hash": "bob:\n",
    "no name": f":{SHA_OF_PASSWORD}\n",
    "the same user twice": USERS + USERS,
    "plain text": "bob:password\n",
    "a hash of crypt": "bob:rl.3StKT.4T8M\n",
    "MD5 without apr1": "bob:$1$abcdefgh$4sHAxKA0bqh1mg/WXIaWg1\n",
    "JSON": '{"valid_keys": "abc"}',
    "NUL": USERS.replace("eve", "e\0ve") + "\0",
    "a hash with more behind it": f"bob:{SHA_OF_PASSWORD}:x\n",
    "HTML of an error page": "<html><body>502 Bad Gateway</body></html>\n",
}
DAMAGED_CONFIGURATIONS = {
    "empty": "",
    "blank": " \n\n",
    "null": "null",
    "a list": "- routes",
    "text": "routes",
    "cut in a word": CONFIGURATION[:-8],
    "cut before the routes": CONFIGURATION.partition("routes:")[0],
    "cut behind the word": CONFIGURATION.partition("routes:")[0] + "routes:",
    "an open quote": CONFIGURATION + 'errors: "openai',
    "a tab": CONFIGURATION + "\tserver: {}",
    "a key twice": CONFIGURATION + "routes: [{path: /*, public: true}]",
    "a tag": CONFIGURATION + "errors: !!python/object/apply:os.system [id]",
    "an endless alias": "a: &a [*a]\n" + CONFIGURATION,
    "binary": "\x00\x01\x02",
    "keys that are text": CONFIGURATION.replace('[{name: ci, value: "${file:secret}"}]', "abc"),
    "a blank key": CONFIGURATION.replace("${file:secret}", ""),
    "a key of blanks": CONFIGURATION.replace("${file:secret}", "  "),
    "a key that is a number": CONFIGURATION.replace('"${file:secret}"', "[1]"),
    "no name for a key": CONFIGURATION.replace("name: ci, ", ""),
    "a file that is not there": CONFIGURATION.replace("htpasswd: users", "htpasswd: elsewhere"),
    "a day that is none": CONFIGURATION.replace("name: ci, ", "name: ci, expires: 2027-02-30, "),
    "a file name without an end": CONFIGURATION.replace("htpasswd: users", "htpasswd: " + "u" * 300),
    "a file name with NUL": CONFIGURATION.replace("htpasswd: users", 'htpasswd: "u\\0"'),
    "a variable that is not set": CONFIGURATION.replace("${file:secret}", "${NOBODY_SETS_THIS}"),
    "a word of another version": CONFIGURATION + "allow_all: true",
}


def lay(folder: Path, users: str = USERS, text: str = CONFIGURATION, secret: str = "right-token\n") -> Path:
    (folder / "users").write_text(users)
    (folder / "secret").write_text(secret)
    (folder / "forwardauth.yml").write_text(text)
    return folder / "forwardauth.yml"


def running(folder: Path) -> App:
    return App(Overrides(config=str(lay(folder))), {})


def opens(app: App, value: str) -> bool:
    """Whether a token opens the closed route of a running service."""
    own = [(name.encode(), text.encode()) for name, text in own_headers("traefik", CHAT).items()]
    asked = Subrequest(b"GET", b"/verify/traefik", [*own, (b"X-API-Token", value.encode())], "127.0.0.1")
    reply = app.service.answer(asked)
    assert isinstance(reply, Reply)
    return reply.status == 200


@pytest.mark.parametrize("text", DAMAGED_CONFIGURATIONS.values(), ids=DAMAGED_CONFIGURATIONS)
async def test_a_damaged_configuration_changes_nothing(tmp_path: Path, text: str) -> None:
    """Attack on the operator: a save that is seen half-way, or went wrong (54762, 27586; THREATS 34, 52)."""
    app = running(tmp_path)
    lay(tmp_path, text=text)
    assert app.reload() != []
    assert opens(app, "right-token")
    assert not opens(app, "")
    assert not opens(app, "wrong-token")
    assert b'reloads_total{result="failure"} 1.0' in app.metrics()
    lay(tmp_path, secret="next-token")
    assert app.reload() == []
    assert (opens(app, "right-token"), opens(app, "next-token")) == (False, True)


@pytest.mark.parametrize("users", DAMAGED_USERS.values(), ids=DAMAGED_USERS)
async def test_a_damaged_file_of_users_changes_nothing(tmp_path: Path, users: str) -> None:
    """Attack on the operator: a file of users that is empty, cut or of another kind (THREATS 34, 52)."""
    app = running(tmp_path)
    before = app.service.snapshot
    lay(tmp_path, users=users)
    (mistake,) = {told.partition(" (line")[0].partition(":")[0] for told in app.reload()}
    assert mistake == "authenticators.staff.basic.htpasswd"
    assert app.service.snapshot is before


@pytest.mark.parametrize("name", ["users", "secret", "forwardauth.yml"])
@pytest.mark.parametrize("instead", ["nothing", "a folder", "no text"])
async def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path, name: str, instead: str) -> None:
    """Attack on the operator: a mount that is gone, or holds something else (THREATS 34)."""
    app = running(tmp_path)
    (tmp_path / name).unlink()
    if instead == "a folder":
        (tmp_path / name).mkdir()
    elif instead == "no text":
        (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    assert app.reload() != []
    assert opens(app, "right-token")


@pytest.mark.parametrize("text", DAMAGED_CONFIGURATIONS.values(), ids=DAMAGED_CONFIGURATIONS)
async def test_a_service_does_not_start_by_a_damaged_configuration(tmp_path: Path, text: str) -> None:
    """Attack on the operator: the same at the start, where there is nothing to keep (THREATS 34, 35)."""
    lay(tmp_path, text=text)
    with pytest.raises(ConfigurationError):
        App(Overrides(config=str(tmp_path / "forwardauth.yml")), {})


@given(st.integers(0, len(USERS)))
def test_every_part_of_a_file_of_users_is_some_of_its_users_or_a_mistake(length: int) -> None:
    """Attack: log in while the file is being written, by a name or a hash that is cut short (THREATS 52)."""
    text = "authenticators: {staff: {basic: {htpasswd: users}}}\nroutes: [{path: /*, require: staff}]"
    found = mistakes(text, files={"users": USERS[:length]})
    whole = [line for line in USERS[:length].split("\n") if line in USERS.split("\n") and line]
    if not found:
        staff = configuration(text, files={"users": USERS[:length]}).snapshot.authenticators["staff"]
        assert {f"{user}:{stored}" for user, stored in staff._users.items()} == set(whole)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "allowed", ["[loopback]", "[127.0.0.1]", "['::1']", "[private]", "[0.0.0.0/0]", "['::ffff:127.0.0.1']"]
)
def test_a_bypass_for_the_gateways_own_address_is_told_at_the_start(allowed: str) -> None:
    """Attack: come through a gateway that tells no address, from the address that may pass (THREATS 14)."""
    bypass = snapshot(f"authenticators: {{o: {{network: {{allow: {allowed}}}}}}}\nroutes: [{{path: /*, require: o}}]")
    assert [risk.word for risk in risks(bypass, ())] == ["bypass_overlaps_peers"]
