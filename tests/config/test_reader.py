"""Plain data to settings: types, and every mistake with its path."""

import pytest

from tests.building import Bench, bearer, mistakes, snapshot, word

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


def test_every_mistake_of_an_authenticator_is_told_at_once() -> None:
    token = "{rate: 100, from: [berer], tokens: [{name: a, value: x, sha256: y}, {name: a, value: z}, {value: [q]}, 5]}"
    below = "authenticators.ci.token."
    assert list(mistakes(f"authenticators: {{ci: {{token: {token}}}}}\n{ROUTES}")) == [
        f"{below}tokens[2].name",
        f"{below}tokens[2].value",
        f"{below}tokens[3]",
        f"{below}rate",
        f"{below}from[0]",
        f"{below}tokens[0]",
        f"{below}tokens[1].name",
    ]


def test_every_mistake_of_the_routes_is_told_at_once() -> None:
    text = "routes: [{path: x, require: zz, rate: q, methods: [get]}, 5, {path: [/ok, bad, 5], rate: 5}]"
    assert list(mistakes(CI + text)) == [
        "routes[1]",
        "routes[2].path[2]",
        "routes[2].rate",
        "routes[0].path",
        "routes[0].require",
        "routes[0].methods[0]",
        "routes[0].rate",
        "routes[2].path[1]",
        "routes[2]",
    ]


@pytest.mark.parametrize("setting", ["require: '${UNSET}'", "public: maybe"])
def test_a_route_is_not_asked_for_what_could_not_be_read(setting: str) -> None:
    assert list(mistakes(f"{CI}routes: [{{path: /*, {setting}}}]")) == [f"routes[0].{setting.partition(':')[0]}"]


def test_a_wrong_entry_of_a_mapping_hides_no_other() -> None:
    found = mistakes(f"{WHOLE}identity_headers: {{user: [5, 'a b'], key: 5, email: ['c d']}}")
    assert list(found) == [
        "identity_headers.user[0]",
        "identity_headers.key",
        "identity_headers.user[1]",
        "identity_headers.email[0]",
    ]


@pytest.mark.parametrize("routes", ["routes: [null]", "routes:\n-", "routes: [~]"])
def test_a_route_of_nothing_is_a_mistake(routes: str) -> None:
    assert mistakes(f"{CI}{routes}\n") == {"routes[0]": "expected settings below it (key: value)"}


@pytest.mark.parametrize(
    ("written", "environment", "secret"),
    [
        ("$${HOME}abc", {"HOME": "/root"}, "${HOME}abc"),
        ("p-${PW}", {"PW": "a${HOME}b", "HOME": "/root"}, "p-a${HOME}b"),
        ("${PW}", {"PW": "a${HOME}b", "HOME": "/root"}, "a${HOME}b"),
        ("p-${PW}", {"PW": "a${b"}, "p-a${b"),
    ],
)
def test_a_secret_is_expanded_once(written: str, environment: dict[str, str], secret: str) -> None:
    """Attack: a value of the environment that names another one."""
    text = f"authenticators: {{ci: {{token: {{tokens: [{{name: a, value: '{written}'}}]}}}}}}\n{ROUTES}"
    assert word(Bench(text, environment).ask("GET", "https://a.example/", bearer(secret))) == "allow"


def test_a_reference_that_is_not_closed_is_a_mistake() -> None:
    found = mistakes(f"authenticators: {{ci: {{token: {{tokens: [{{name: a, value: 'x${{PW'}}]}}}}}}\n{ROUTES}")
    assert list(found) == ["authenticators.ci.token.tokens[0].value"]
    assert "write $${ for a literal ${" in str(found)


def test_a_requirement_is_expanded_wherever_it_names_one() -> None:
    text = CI + "routes: [{path: /*, require: {any: ['${WHO:-ci}', {all: '${LIST}'}]}}]"
    requirement = snapshot(text, {"LIST": "ci, ci"}).routes.routes[0].requirement
    assert requirement is not None
    assert [each.name for each in requirement.authenticators()] == ["ci", "ci", "ci"]
    found = mistakes(
        CI + "routes: [{path: /*, require: {any: ['${UNSET}', {all: ['${WHO}']}, '${UNSET}']}}]", {"WHO": "x"}
    )
    assert list(found) == ["routes[0].require.any[0]", "routes[0].require.any[2]", "routes[0].require.any[1].all[0]"]


def test_a_requirement_has_a_bound() -> None:
    """Attack: aliases of aliases that a request would have to ask one by one."""
    lines = "".join(
        f"- {{path: /{level}, require: &l{level + 1} {{any: [*l{level}, *l{level}]}}}}\n" for level in range(1, 8)
    )
    found = mistakes(f"{CI}routes:\n- {{path: /0, require: &l1 ci}}\n{lines}")
    assert found == {
        "routes[7].require": "expected at most 100 authenticators, each counted as often as it stands there"
    }


@pytest.mark.parametrize(
    ("value", "address"), [("false", ""), ("no", ""), ("0", ""), ("yes", "https://a.example/auth/login")]
)
def test_a_switch_that_may_be_text_is_read_from_the_environment(value: str, address: str) -> None:
    text = f"{CI}server: {{public_url: 'https://a.example'}}\nroutes: [{{path: /*, require: ci, login: '${{X}}'}}]"
    assert snapshot(text, {"X": value}).routes.routes[0].login == address


@pytest.mark.parametrize(("value", "read"), [("1", "true"), ("yes", "true"), ("no", "false"), ("foreign", "foreign")])
def test_credentials_are_passed_as_the_environment_says(value: str, read: str) -> None:
    text = f"{CI}routes: [{{path: /*, require: ci, pass_credentials: '${{X}}'}}]"
    assert snapshot(text, {"X": value}).routes.routes[0].pass_credentials == read


@pytest.mark.parametrize(("value", "paths"), [("/a,/b", ("/a", "/b")), ("/a", ("/a",)), ("/a, ", ("/a",))])
def test_paths_are_read_from_the_environment(value: str, paths: tuple[str, ...]) -> None:
    text = f"{CI}routes: [{{path: '${{X}}', require: ci}}]"
    assert snapshot(text, {"X": value}).routes.routes[0].paths == paths


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (r'server: {admin_token: "a\0"}', "server.admin_token"),
        (r'server: {listen: "unix:a\0"}', "server.listen"),
        (r'server: {trusted_peers: ["loopback", "a\0"]}', "server.trusted_peers[1]"),
        (r'database: "sqlite:///a\0"', "database"),
    ],
)
def test_a_text_with_nul_is_a_mistake(text: str, path: str) -> None:
    """Python raises where a file of that name is opened, after the start."""
    assert list(mistakes(f"{WHOLE}{text}\n")) == [path]
