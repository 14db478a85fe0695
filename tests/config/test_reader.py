"""Plain data to settings: types, and every mistake with its path."""

import pytest

from tests.building import mistakes, snapshot

CI = "authenticators: {ci: {token: {tokens: [{name: a, value: x}]}}}\n"
ROUTES = "routes: [{path: /*, require: ci}]\n"
WHOLE = CI + ROUTES


@pytest.mark.parametrize(
    ("value", "read"),
    [("true", True), ("1", True), ("yes", True), ("TRUE", True), ("false", False), ("0", False), ("no", False)],
)
def test_a_switch_is_read_from_the_environment(value: str, read: bool) -> None:
    assert snapshot(WHOLE + 'require_auth: "${X}"', {"X": value}).require_auth is read


def test_numbers_are_read_from_the_environment() -> None:
    text = WHOLE + 'server: {forwarded_depth: "${D}"}\nlockout: {ttl_seconds: "${T:-7.5}"}\n'
    settings = snapshot(text, {"D": "3"}).settings
    assert (settings.server.forwarded_depth, settings.lockout.ttl_seconds) == (3, 7.5)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("10.0.0.0/8", ["10.0.0.0/8"]),
        ("loopback, 10.0.0.0/8,", ["loopback", "10.0.0.0/8"]),
        ("", []),
    ],
)
def test_a_list_is_read_from_the_environment_by_its_commas(value: str, read: list[str]) -> None:
    settings = snapshot(WHOLE + 'server: {trusted_peers: "${PEERS}"}', {"PEERS": value}).settings
    assert settings.server.trusted_peers == read


def test_methods_are_read_from_the_environment_by_their_commas() -> None:
    text = CI + 'routes: [{path: /*, require: ci, methods: "${M}"}]'
    assert snapshot(text, {"M": "GET,POST"}).routes.routes[0].methods == frozenset({b"GET", b"POST"})


def test_a_part_of_a_value_is_text() -> None:
    found = mistakes(WHOLE + 'server: {forwarded_depth: "${D}0"}', {"D": "1"})
    assert found == {"server.forwarded_depth": "expected a whole number"}


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        pytest.param("sever: {}", "sever", "unknown key; did you mean server?", id="a misspelt key"),
        pytest.param("server: {listn: x}", "server.listn", "did you mean listen?", id="a misspelt key further in"),
        pytest.param("server: {zzz: x}", "server.zzz", "known here: admin,", id="a key like no other"),
        pytest.param("server: []", "server", "expected settings below it", id="a list for settings"),
        pytest.param("server: {forwarded_depth: two}", "server.forwarded_depth", "expected a whole number", id="text"),
        pytest.param("server: {forwarded_depth: true}", "server.forwarded_depth", "whole number", id="a switch"),
        pytest.param("server: {forwarded_depth: 1.5}", "server.forwarded_depth", "whole number", id="a fraction"),
        pytest.param("server: {forwarded_depth: '1'}", "server.forwarded_depth", "whole number", id="a quoted number"),
        pytest.param("server: {forwarded_depth: 0}", "server.forwarded_depth", "expected 1 to 16", id="too little"),
        pytest.param("server: {listen: 9000}", "server.listen", "expected text", id="a number for text"),
        pytest.param("server: {listen: x}", "server.listen", "expected HOST:PORT", id="no address"),
        pytest.param("server: {trusted_peers: loopback}", "server.trusted_peers", "expected a list", id="no list"),
        pytest.param("server: {trusted_peers: [1]}", "server.trusted_peers[0]", "expected text", id="in a list"),
        pytest.param("server: {gateways: []}", "server.gateways", "expected at least one", id="no gateway"),
        pytest.param("server: {gateways: [apache]}", "server.gateways[0]", "'apache' is not here", id="a gateway"),
        pytest.param("server: {trusted_peers: [lan]}", "server.trusted_peers[0]", "is no address", id="a network"),
        pytest.param("server: {engine: fast}", "server.engine", "expected httptools or aiohttp", id="an engine"),
        pytest.param("require_auth: maybe", "require_auth", "expected true or false", id="no switch"),
        pytest.param("require_auth: 1", "require_auth", "expected true or false", id="a number for a switch"),
        pytest.param(
            "require_auth: '${X}'", "require_auth", "expected true or false", id="a switch of the environment"
        ),
        pytest.param("errors: xml", "errors", "unknown format; known here", id="a format"),
        pytest.param("lockout: {exempt: [cdn]}", "lockout.exempt[0]", "is no address", id="an exempt address"),
        pytest.param("lockout: {ttl_seconds: 0}", "lockout.ttl_seconds", "expected 1 to 31536000", id="a bound"),
        pytest.param("lockout: {ttl_seconds: .nan}", "lockout.ttl_seconds", "expected 1 to", id="not a number"),
        pytest.param("audit: {path: '${UNSET}'}", "audit.path", "UNSET is not set", id="an unset name"),
        pytest.param("audit: {path: '${file:nowhere}'}", "audit.path", "does not exist", id="a file that is not there"),
        pytest.param("audit: stdout", "audit", "expected settings below it", id="a word for settings"),
    ],
)
def test_a_mistake_has_its_path_and_what_was_expected(text: str, path: str, said: str) -> None:
    found = mistakes(f"{WHOLE}{text}\n", {"X": "maybe"})
    assert list(found) == [path]
    assert said in found[path]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("shared: redis://x", "shared"),
        ("inject: {claude: {}}", "inject"),
        ("people: {registration: closed}", "people"),
    ],
)
def test_a_setting_that_nothing_implements_is_refused_by_name(text: str, path: str) -> None:
    found = mistakes(f"{WHOLE}{text}\n")
    assert list(found) == [path]
    assert "not built into this version" in found[path]


@pytest.mark.parametrize("setting", ["inject: claude", "login: true", "resource: {url: x}"])
def test_a_routes_setting_that_nothing_implements_is_refused_by_name(setting: str) -> None:
    found = mistakes(f"{CI}routes: [{{path: /*, require: ci, {setting}}}]")
    assert list(found) == [f"routes[0].{setting.partition(':')[0]}"]


@pytest.mark.parametrize("kind", ["delegate", "jwt", "session", "sso_header"])
def test_a_kind_that_nothing_implements_is_refused_by_name(kind: str) -> None:
    found = mistakes(f"authenticators: {{one: {{{kind}: {{}}}}}}\nroutes: [{{path: /*, require: one}}]")
    assert found[f"authenticators.one.{kind}"] == "is not built into this version yet"


def test_no_secret_is_told_with_a_mistake() -> None:
    text = "authenticators: {ci: {token: {tokens: [{name: a, value: 'hunter 2'}, {name: b, value: [hunter2]}]}}}\n"
    found = mistakes(text + ROUTES)
    assert found
    assert "hunter" not in str(found)
