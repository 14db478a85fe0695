"""What a configuration means, and what in it cannot be meant."""

import pytest

from forwardauth.core.requirement import AllOf, AnyOf, One, Requirement
from tests.building import Bench, mistakes, snapshot, word

CI = "{token: {tokens: [{name: a, value: x}]}}"
TWO = f"authenticators: {{one: {CI}, two: {{token: {{tokens: [{{name: b, value: y}}]}}}}}}\n"


def authenticators(**entries: str) -> str:
    return f"authenticators: {{{', '.join(f'{name}: {entry}' for name, entry in entries.items())}}}\n"


@pytest.mark.parametrize(
    ("routes", "path", "said"),
    [
        pytest.param("[]", "routes", "expected at least one route", id="no route"),
        pytest.param("[{path: /*}]", "routes[0]", "expected require", id="neither public nor require"),
        pytest.param("[{path: /*, public: true, require: one}]", "routes[0]", "not both", id="public and require"),
        pytest.param("[{path: /*, require: on}]", "routes[0].require", "expected", id="a switch for a name"),
        pytest.param("[{path: /*, require: none}]", "routes[0].require", "known here: one, two", id="an unknown name"),
        pytest.param("[{path: /*, require: {any: [one, x]}}]", "routes[0].require.any[1]", "'x'", id="within any"),
        pytest.param(
            "[{path: /*, require: {all: [{any: [x]}, one]}}]", "routes[0].require.all[0].any[0]", "'x'", id="nested"
        ),
        pytest.param("[{path: /*, require: {any: []}}]", "routes[0].require.any", "expected a list", id="any of none"),
        pytest.param("[{path: /*, require: {some: [one]}}]", "routes[0].require", "any: […]", id="another word"),
        pytest.param("[{path: /*, require: {any: [one], all: [two]}}]", "routes[0].require", "any: […]", id="both"),
        pytest.param("[{public: true}]", "routes[0].path", "is missing", id="no path"),
        pytest.param("[{path: [], public: true}]", "routes[0].path", "at least one path", id="an empty list of paths"),
        pytest.param("[{path: v1, public: true}]", "routes[0].path", "begins with /", id="no slash"),
        pytest.param("[{path: /a*/b, public: true}]", "routes[0].path", "only at its end", id="a star inside"),
        pytest.param("[{path: /a/../b, public: true}]", "routes[0].path", "never matches", id="a dot segment"),
        pytest.param("[{path: '/a?b=*', public: true}]", "routes[0].path", "a query is no part", id="a query"),
        pytest.param(
            "[{path: /%2F*, public: true, encoded_slashes: true}]", "routes[0].encoded_slashes", "never", id="slashes"
        ),
        pytest.param("[{path: /*, public: true, host: 'a b'}]", "routes[0].host", "expected a host name", id="a host"),
        pytest.param("[{path: /*, public: true, host: a.*.b}]", "routes[0].host", "expected a host", id="a star"),
        pytest.param("[{path: /*, public: true, methods: [get]}]", "routes[0].methods[0]", "in capitals", id="get"),
        pytest.param("[{path: /*, public: true, methods: []}]", "routes[0].methods", "at least one", id="no method"),
        pytest.param("[{path: /*, public: true, rate: 1}]", "routes[0].rate", "expected text", id="a rate"),
        pytest.param("[{path: /*, public: true, rate: 1/w}]", "routes[0].rate", "expected a rate", id="a period"),
        pytest.param("[{path: /*, public: true, errors: x}]", "routes[0].errors", "unknown format", id="a format"),
        pytest.param(
            "[{path: /*, require: one, origins: [partner.example]}]", "routes[0].origins[0]", "https://", id="an origin"
        ),
        pytest.param(
            "[{path: /*, require: one, pass_credentials: some}]",
            "routes[0].pass_credentials",
            "true, false or foreign",
            id="what to pass",
        ),
        pytest.param("[{path: /*, public: true, name: a b}]", "routes[0].name", "expected a name", id="a name"),
        pytest.param(
            "[{path: /a, public: true, name: a}, {path: /b, public: true, name: a}]",
            "routes[1].name",
            "another route has this name",
            id="a name twice",
        ),
        pytest.param(
            "[{path: /a, public: true}, {path: /b, public: true}, {path: /a, require: one}]",
            "routes[2]",
            "never reached: routes[0]",
            id="a route behind the same one",
        ),
    ],
)
def test_a_route_that_cannot_be_meant_is_a_mistake(routes: str, path: str, said: str) -> None:
    found = mistakes(f"{TWO}routes: {routes}\n")
    assert list(found) == [path]
    assert said in found[path]


@pytest.mark.parametrize(
    ("entry", "path", "said"),
    [
        ("{}", "authenticators.ci", "exactly one kind"),
        ("{enabled: true}", "authenticators.ci", "exactly one kind"),
        ("{token: {tokens: [{name: a, value: x}]}, basic: {users: []}}", "authenticators.ci", "exactly one kind"),
        (
            "{tokens: []}",
            "authenticators.ci.tokens",
            "unknown kind; known here: basic, key_file, network, tenant_keys, token, virtual_key",
        ),
        ("word", "authenticators.ci", "expected a kind below it"),
        (f"{{enabled: maybe, {CI[1:]}", "authenticators.ci.enabled", "true or false"),
        ("{token: {tokens: [{name: a, value: x, expire: never}]}}", "authenticators.ci.token.tokens[0].expire", "mean"),
        ("{token: {tokens: [{name: a, value: '${UNSET}'}]}}", "authenticators.ci.token.tokens[0].value", "not set"),
        ("{token: {tokens: [{name: a, value: '${EMPTY}'}]}}", "authenticators.ci.token.tokens[0].value", "is empty"),
        ("{token: {tokens: [{name: a, value: '${X:-}'}]}}", "authenticators.ci.token.tokens[0].value", "is empty"),
        ("{token: {tokens: [{name: a, value: '${file:e}'}]}}", "authenticators.ci.token.tokens[0].value", "is empty"),
        ("{token: {tokens: [{name: a, value: '${file:n}'}]}}", "authenticators.ci.token.tokens[0].value", "not exist"),
    ],
)
def test_an_authenticator_that_cannot_be_meant_is_one_mistake(entry: str, path: str, said: str) -> None:
    text = f"{authenticators(ci=entry)}routes: [{{path: /*, require: ci}}]\n"
    found = mistakes(text, {"EMPTY": ""}, {"e": "\n"})
    assert list(found) == [path]
    assert said in found[path]


def test_every_mistake_is_told_at_once() -> None:
    found = mistakes("""
        sever: {}
        server: {listn: x, forwarded_depth: 99, trusted_peers: [lan]}
        authenticators:
          ci: {token: {from: [{header: X-Auth-User}], tokens: [{name: a, value: x}, {name: b, value: x}]}}
          old: {token: {tokens: [{name: c, valu: y}]}}
        routes:
          - {path: /a, public: true, require: ci}
          - {path: /b, require: cj}
          - {path: /c, require: ci, rate: often, colour: red}
        errors: xml
    """)
    assert {
        "sever",
        "server.listn",
        "server.forwarded_depth",
        "server.trusted_peers[0]",
        "authenticators.ci.token.tokens[1]",
        "authenticators.old.token.tokens[0].valu",
        "routes[0]",
        "routes[1].require",
        "routes[2].rate",
        "routes[2].colour",
        "errors",
    } <= set(found)


# Switches.


def test_what_is_disabled_is_not_validated() -> None:
    built = snapshot(
        authenticators(
            ci=CI,
            closed="{enabled: false, token: {tokens: [{name: 'a b', value: '${UNSET}', colour: red}]}}",
            unbuilt="{enabled: false, jwt: {secret: '${UNSET}'}}",
            nothing="{enabled: '${SWITCH:-false}', zzz: 1}",
        )
        + "routes: [{path: /*, require: {any: [closed, ci, unbuilt, nothing]}}]\n"
    )
    assert list(built.authenticators) == ["ci"]


def shape(requirement: Requirement | None) -> str:
    if isinstance(requirement, AnyOf | AllOf):
        word = "any" if isinstance(requirement, AnyOf) else "all"
        return f"{word}({', '.join(map(shape, requirement.members))})"
    return requirement.authenticator.name if isinstance(requirement, One) else "nobody"


@pytest.mark.parametrize(
    ("require", "left"),
    [
        ("{any: [one, closed]}", "one"),
        ("{all: [closed, one]}", "one"),
        ("{any: [one, closed, two]}", "any(one, two)"),
        ("{all: [{any: [closed, one]}, {all: [closed]}, two]}", "all(one, two)"),
        ("{any: [{all: [one, two]}, closed]}", "all(one, two)"),
    ],
)
def test_disabled_members_fall_out(require: str, left: str) -> None:
    text = TWO.replace("}\n", f", closed: {{enabled: false, {CI[1:]}}}\n")
    assert shape(snapshot(f"{text}routes: [{{path: /*, require: {require}}}]").routes.routes[0].requirement) == left


@pytest.mark.parametrize("require", ["closed", "{any: [closed]}", "{all: [closed, {any: [closed]}]}"])
def test_a_requirement_of_which_nothing_is_left_is_a_mistake(require: str) -> None:
    """Attack on the operator: switch one authenticator off, and its routes are open (THREATS 35)."""
    found = mistakes(
        f"{authenticators(closed=f'{{enabled: false, {CI[1:]}')}routes: [{{path: /*, require: {require}}}]"
    )
    assert list(found) == ["routes[0].require"]
    assert "every authenticator here is disabled" in found["routes[0].require"]


UNSET = "{token: {tokens: [{name: a, value: '${UNSET}'}]}}"


@pytest.mark.parametrize("switch", ["require_auth: false", "disable_auth: true"])
@pytest.mark.parametrize("entry", [UNSET, f"{{enabled: false, {CI[1:]}", "{tokens: []}"])
def test_disabled_as_a_whole_needs_no_secret(switch: str, entry: str) -> None:
    text = f"{switch}\n{authenticators(a=entry)}routes: [{{path: /v1/*, require: a}}]"
    assert word(Bench(text).ask("GET", "https://api.example.com/v1/models")) == "allow"
    assert word(Bench(text).ask("GET", "https://api.example.com/admin")) == "no_route"


@pytest.mark.parametrize("switch", ["require_auth: true", "disable_auth: false", "require_auth: maybe"])
def test_whatever_is_not_disabled_needs_its_secret(switch: str) -> None:
    """Attack on the operator: a switch that he believes to be on, and no key (THREATS 35)."""
    found = mistakes(f"{switch}\n{authenticators(a=UNSET)}routes: [{{path: /*, require: a}}]")
    assert "authenticators.a.token.tokens[0].value" in found


@pytest.mark.parametrize("route", ["{path: /*, require: b}", "{path: /*}", "{path: nowhere, require: a}"])
def test_what_is_not_asked_for_is_not_authentication_alone(route: str) -> None:
    """Routes are looked at as ever: they hold when authentication is on again."""
    assert mistakes(f"require_auth: false\n{authenticators(a=CI)}routes: [{route}]")


# Names.


@pytest.mark.parametrize(
    ("entries", "path"),
    [
        ("{usr: [Remote-User]}", "identity_headers.usr"),
        ("{user: [Remote User]}", "identity_headers.user[0]"),
        ("{user: [Remote_User]}", "identity_headers.user[0]"),
        ("{user: [X-Forwarded-For]}", "identity_headers.user[0]"),
        ("{user: [Host]}", "identity_headers.user[0]"),
        ("{user: [Content-Length]}", "identity_headers.user[0]"),
        ("{user: [Authorization]}", "identity_headers.user[0]"),
        ("{user: [X-API-Key]}", "identity_headers.user[0]"),
        ("{email: [X-Auth-User]}", "identity_headers.email[0]"),
        ("{user: [X-Auth-Email]}", "identity_headers.user[0]"),
        ("{user: [Remote-User], email: [remote-user]}", "identity_headers.email[0]"),
        ("{user: [Cookie]}", "identity_headers.user[0]"),
        ("{user: [X-HTTP-Method-Override]}", "identity_headers.user[0]"),
        ("{user: [Method-Override]}", "identity_headers.user[0]"),
    ],
)
def test_an_identity_header_with_another_meaning_is_a_mistake(entries: str, path: str) -> None:
    assert list(mistakes(f"routes: [{{path: /*, public: true}}]\nidentity_headers: {entries}")) == [path]


READERS = [
    ("authenticators: {a: {token: {from: [{header: X-Goog}], tokens: [{name: a, value: x}]}}}\n", "x-goog"),
    ("authenticators: {a: {tenant_keys: {directory: keys, tenant_header: X-Train}}}\n", "X-TRAIN"),
    ("server: {gateway_user_header: X-Seen}\n", "X-Seen"),
]


@pytest.mark.parametrize(("reader", "header"), READERS)
def test_an_identity_header_is_none_that_is_read(reader: str, header: str) -> None:
    """Whoever sends an identity header is refused, so with it nobody would get in."""
    found = mistakes(
        f"{reader}identity_headers: {{user: [Remote-User, {header}]}}\nroutes: [{{path: /*, public: true}}]"
    )
    assert found == {"identity_headers.user[1]": "is read from requests; expected a header that nothing else needs"}


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("token: {from: [bearer, {header: Host}], tokens: [{name: host, value: x}]}", "token.from[1]"),
        ("token: {from: [{header: X-Real-IP}, {header: Host}], tokens: [{name: a, value: x}]}", "token.from[1]"),
        ("token: {from: [{header: '${NAME}'}], tokens: [{name: Host, value: x}], realm: Host}", "token"),
        ("key_file: {path: Host, header: Host}", "key_file.header"),
        ("key_file: {path: Host, from: [{header: Host}]}", "key_file.from[0]"),
        ("tenant_keys: {directory: Host, tenant_header: Host}", "tenant_keys.tenant_header"),
        ("tenant_keys: {directory: Host, from: [{header: Host}]}", "tenant_keys.from[0]"),
    ],
)
def test_a_header_with_another_meaning_is_told_where_it_stands(kind: str, path: str) -> None:
    text = f"authenticators: {{good: {CI}, odd: {{enabled: true, {kind}}}}}\nroutes: [{{path: /*, require: odd}}]"
    said = mistakes(text, {"NAME": "Host"})[f"authenticators.odd.{path}"]
    assert said == "the header Host has another meaning here; expected one of its own"


@pytest.mark.parametrize(
    "name",
    [
        "X-HTTP-Method-Override",
        "x-http-method",
        "X-Method-Override",
        "XHTTP-Method-Override",
        "Method-Override",
        "X-Auth-User",
        "X-Forwarded-Uri",
        "Sec-Fetch-Site",
    ],
)
def test_a_header_that_decides_carries_no_credential(name: str) -> None:
    """Attack: a key in the header that overrides the method; the guard would read a credential and let it through."""
    entry = f"{{token: {{from: [{{header: {name}}}], tokens: [{{name: a, value: x}}]}}}}"
    assert list(mistakes(f"{authenticators(ci=entry)}routes: [{{path: /*, require: ci}}]")) == [
        "authenticators.ci.token.from[0]"
    ]


@pytest.mark.parametrize("name", ["X-API-Key", "Authorization", "Cookie", "X-Goog"])
def test_no_tenant_is_named_where_a_credential_stands(name: str) -> None:
    goog = "{token: {from: [{header: X-Goog}], tokens: [{name: a, value: x}]}}"
    tenants = f"{{tenant_keys: {{directory: keys, tenant_header: {name}}}}}"
    text = f"{authenticators(goog=goog, tenants=tenants)}routes: [{{path: /*, require: {{any: [goog, tenants]}}}}]"
    assert list(mistakes(text)) == ["authenticators.tenants.tenant_keys.tenant_header"]


# The gateway's user.

KEY = authenticators(ci="{token: {from: [{header: X-My-Key}, {cookie: key}], tokens: [{name: a, value: x}]}}")


@pytest.mark.parametrize("name", ["X-My-Key", "x-my-key", "X-API-Token", "X-API-Key", "Cookie"])
def test_the_gateways_user_is_no_credential(name: str) -> None:
    """Attack on the operator: the audit, which many may read, holds every client's secret as the gateway's user."""
    found = mistakes(f"server: {{gateway_user_header: {name}}}\n{KEY}routes: [{{path: /*, require: ci}}]")
    assert list(found) == ["server.gateway_user_header"]
    assert found["server.gateway_user_header"].startswith(f"{name} carries credentials")


def test_cookies_may_hold_secrets_of_others() -> None:
    assert mistakes("server: {gateway_user_header: Cookie}\nroutes: [{path: /*, public: true}]")


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-For", "X-Auth-User", "X-HTTP-Method", "Method-Override", "a b"])
def test_the_gateways_user_has_a_header_of_its_own(name: str) -> None:
    found = mistakes(f"server: {{gateway_user_header: {name}}}\nroutes: [{{path: /*, public: true}}]")
    assert list(found) == ["server.gateway_user_header"]


@pytest.mark.parametrize("name", ["X-Forwarded-User", "Authorization", "AUTHORIZATION"])
def test_the_gateways_user_may_be_the_one_of_basic(name: str) -> None:
    built = snapshot(f"server: {{gateway_user_header: {name}}}\n{KEY}routes: [{{path: /*, require: ci}}]")
    assert built.gateway_user == name.lower().encode()


@pytest.mark.parametrize(
    ("setting", "path", "said"),
    [
        ("audit: {path: ''}", "audit.path", "expected a file, - (stdout) or off"),
        ("audit: {path: ' '}", "audit.path", "expected a file, - (stdout) or off"),
        ("server: {admin_token: ''}", "server.admin_token", "expected the path of a file"),
        ("server: {admin_token: '${UNSET:-}'}", "server.admin_token", "expected the path of a file"),
    ],
)
def test_a_file_without_a_name_is_a_mistake(setting: str, path: str, said: str) -> None:
    found = mistakes(f"{setting}\nroutes: [{{path: /*, public: true}}]")
    assert list(found) == [path]
    assert found[path].startswith(said)


def test_further_names_stand_beside_the_standard_ones() -> None:
    built = snapshot("routes: [{path: /*, public: true}]\nidentity_headers: {user: [X-Auth-User, Remote-User]}")
    assert built.further_names == {"user": ("Remote-User",)}


def test_an_unnamed_route_is_called_by_its_path() -> None:
    built = snapshot("routes: [{path: [/a, /b*], public: true}, {path: /*, public: true, name: rest}]")
    assert [route.name for route in built.routes.routes] == ["/a", "rest"]


def test_a_routes_format_beats_the_files() -> None:
    built = snapshot("routes: [{path: /a, public: true, errors: detail}, {path: /b, public: true}]\nerrors: plain")
    assert [route.errors for route in built.routes.routes] == ["detail", "plain"]


@pytest.mark.parametrize(
    ("depth", "client", "said"),
    [(1, "10.0.0.9, 192.0.2.1", "192.0.2.1"), (2, "192.0.2.7, 10.0.0.9", "192.0.2.7"), (3, "192.0.2.7", None)],
)
def test_the_depth_of_forwarded_entries_is_the_configurations(depth: int, client: str, said: str | None) -> None:
    bench = Bench(f"server: {{forwarded_depth: {depth}}}\nroutes: [{{path: /*, public: true}}]")
    decision = bench.ask(client=client)
    assert word(decision) == ("allow" if said else "malformed_subrequest")
    assert (decision.client.address if decision.client else None) == said
