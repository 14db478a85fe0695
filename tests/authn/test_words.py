"""What a caller reads who presents nothing: a challenge on every 401, in the words of the first source."""

import pytest

from tests.building import SHA_OF_PASSWORD, Bench, bearer, mistakes, snapshot

TOKENS = "tokens: [{name: a, value: x}]"


@pytest.mark.parametrize(
    ("kind", "code", "message", "challenge"),
    [
        pytest.param(
            f"token: {{from: [{{header: X-API-Token}}], {TOKENS}}}",
            "missing_token_header",
            "Missing X-API-Token header. Please provide your API token.",
            'ApiKey realm="forwardauth", header="X-API-Token"',
            id="a header of its own",
        ),
        pytest.param(
            f"token: {{from: [{{header: X-API-Token}}, bearer], realm: xai, {TOKENS}}}",
            "missing_token_header",
            "Missing X-API-Token header. Please provide your API token.",
            'ApiKey realm="xai", header="X-API-Token"',
            id="the first of several, with a realm",
        ),
        pytest.param(
            f"token: {{{TOKENS}}}",
            "missing_authorization",
            "Missing Authorization header. Please provide your API token as 'Authorization: Bearer <token>'.",
            "Bearer",
            id="Bearer",
        ),
        pytest.param(
            f"token: {{realm: xai, {TOKENS}}}",
            "missing_authorization",
            "Missing Authorization header. Please provide your API token as 'Authorization: Bearer <token>'.",
            'Bearer realm="xai"',
            id="Bearer with a realm",
        ),
        pytest.param(
            f"token: {{from: [{{cookie: key}}], {TOKENS}}}",
            "missing_authorization",
            "Missing credential. Please sign in or provide your API token.",
            'ApiKey realm="forwardauth", cookie="key"',
            id="a cookie",
        ),
        pytest.param(
            f'basic: {{realm: staff, users: ["bob:{SHA_OF_PASSWORD}"]}}',
            "missing_authorization",
            "Missing Authorization header. Please provide a user name and a password.",
            'Basic realm="staff", charset="UTF-8"',
            id="a password",
        ),
    ],
)
def test_who_presents_nothing_reads_what_to_present(kind: str, code: str, message: str, challenge: str) -> None:
    one = snapshot(f"authenticators: {{one: {{{kind}}}}}\nroutes: [{{path: /*, require: one}}]").authenticators["one"]
    assert one.missing is not None
    assert (one.missing.code, one.missing.message, one.missing.challenge) == (code, message, challenge)
    assert one.missing.reason.word == "missing_credential"


@pytest.mark.parametrize(
    ("realm", "challenge"),
    [("", 'Bearer error="invalid_token"'), ("xai", 'Bearer realm="xai", error="invalid_token"')],
)
def test_a_wrong_bearer_token_is_told_from_a_missing_one(realm: str, challenge: str) -> None:
    bench = Bench(
        f"authenticators: {{one: {{token: {{realm: '{realm}', {TOKENS}}}}}}}\nroutes: [{{path: /*, require: one}}]"
    )
    denial = bench.ask("GET", "https://a.example/", bearer("y")).denial
    assert denial is not None
    assert denial.challenge == challenge


@pytest.mark.parametrize("realm", ['a"b', "a\\b", "a\nb", "ä"])
def test_a_realm_cannot_end_its_quotes(realm: str) -> None:
    """What an operator types there stands in a header: a quote, a backslash or a line break would be another one."""
    text = realm.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    found = mistakes(
        f'authenticators: {{one: {{token: {{realm: "{text}", {TOKENS}}}}}}}\nroutes: [{{path: /*, require: one}}]'
    )
    assert list(found) == ["authenticators.one.token.realm"]
