"""`forwardauth explain`: a replay of a decision that changes nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from forwardauth.cli import main
from forwardauth.core.decide import STATIONS

CONFIGURATION = """
authenticators:
  staff: {basic: {users: ["alice:{SHA}MXmmXv8lI7veU8mbKZtxnBCjUjU="]}}
  ci: {token: {from: [{header: X-API-Token}], tokens: [{name: ci, value: right-token, scopes: [{path: /v1/models}]}]}}
routes:
  - {name: health, path: /health, public: true}
  - {name: staff, path: /staff, require: staff}
  - {name: all, path: /v1/*, require: ci}
"""
URL = "https://api.example.com"
# alice:correct and alice:wrong
RIGHT, WRONG = "Authorization: Basic YWxpY2U6Y29ycmVjdA==", "Authorization: Basic YWxpY2U6d3Jvbmc="


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "forwardauth.yml").write_text(CONFIGURATION)
    return str(tmp_path / "forwardauth.yml")


def explain(config: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", "--config", config, *arguments])


def test_an_allowed_request_shows_every_station_in_order(config: str) -> None:
    result = explain(config, "-H", "X-API-Token: right-token", f"{URL}/v1/models")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert [line[: max(map(len, STATIONS))].strip() for line in lines[:-1]] == list(STATIONS)
    assert lines[-1] == "200 as key ci"
    assert "right-token" not in result.output


@pytest.mark.parametrize(
    ("arguments", "station", "last"),
    [
        ([f"{URL}/health/../v1"], "route", "400 ambiguous_path"),
        ([f"{URL}/other"], "route", "403 no_route"),
        (["--client", "nobody", f"{URL}/v1/models"], "client address", "400 malformed_subrequest"),
        ([f"{URL}/v1/models"], "authenticators", "401 missing_token_header"),
        (["-H", "X_Auth_User: admin", f"{URL}/v1/models"], "header guard", "400 lookalike_header"),
        (["-H", "X-API-Token: wrong", f"{URL}/v1/models"], "authenticators", "401 invalid_token"),
        (["-H", "X-API-Token: right-token", f"{URL}/v1/other"], "scope", "403 insufficient_scope"),
        (["-H", WRONG, f"{URL}/staff"], "authenticators", "401 invalid_credentials"),
        (
            ["-X", "POST", "-H", RIGHT, "-H", "Origin: https://evil.example", f"{URL}/staff"],
            "cross-site",
            "403 cross_site",
        ),
    ],
)
def test_a_denied_request_ends_at_the_station_that_denied_it(
    config: str, arguments: list[str], station: str, last: str
) -> None:
    result = explain(config, *arguments)
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[-2].startswith(f"{station} ")
    assert "DENY" in lines[-2]
    assert lines[-1].startswith(last)


def test_a_password_is_really_compared(config: str) -> None:
    assert "200 as user alice" in explain(config, "-H", RIGHT, f"{URL}/staff").stdout


@pytest.mark.parametrize(
    ("headers", "last"),
    [
        (["-H", "Host: api.example.com"], "200 as nobody in particular"),
        (["-H", "host: other.example.com"], "403 no_route"),
        (["-H", "Host: api.example.com", "-H", "Host: api.example.com"], "400 malformed_subrequest"),
        ([], "403 no_route"),
    ],
)
def test_a_host_that_is_given_replaces_that_of_the_address(tmp_path: Path, headers: list[str], last: str) -> None:
    config = tmp_path / "forwardauth.yml"
    config.write_text("routes: [{path: /*, host: api.example.com, public: true}]\n")
    assert explain(str(config), *headers, "http://127.0.0.1:8080/v1").stdout.splitlines()[-1].startswith(last)


@pytest.mark.parametrize("arguments", [["/v1"], ["-H", "nonsense", f"{URL}/v1"]])
def test_what_cannot_be_read_is_a_usage_error(config: str, arguments: list[str]) -> None:
    assert explain(config, *arguments).exit_code == 2
