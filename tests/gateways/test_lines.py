"""The lines that depend on header names: what `check --gateway` prints is what the shipped files hold."""

from pathlib import Path

import pytest

from forwardauth.gateways import GATEWAYS
from forwardauth.gateways.lines import Names
from tests.building import snapshot

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
PLAIN = snapshot("routes: [{path: /*, public: true}]").names
ODD = Names(
    identity=(*PLAIN.identity, "Remote-User", "Key", "X-Auth-Nick"),
    credentials=(*PLAIN.credentials, "X-Goog-Api-Key", "Cookie", "Deny-Status"),
)


def stripped(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


@pytest.mark.parametrize("gateway", sorted(GATEWAYS))
def test_a_shipped_file_holds_the_lines_of_the_default_names(gateway: str) -> None:
    blocks = GATEWAYS[gateway].blocks(PLAIN)
    assert blocks
    for block in blocks:
        lines, found = stripped((DEPLOY / block.file).read_text()), stripped(block.text)
        places = [start for start in range(len(lines)) if lines[start : start + len(found)] == found]
        assert len(places) == 1, f"deploy/{block.file} holds these lines {len(places)} times:\n{block.text}"


@pytest.mark.parametrize("gateway", sorted(GATEWAYS))
def test_every_name_of_an_odd_configuration_is_in_the_lines(gateway: str) -> None:
    text = "\n".join(block.text for block in GATEWAYS[gateway].blocks(ODD)).lower()
    for name in ("Remote-User", "Key", "X-Goog-Api-Key", "Cookie", "Deny-Status"):
        assert name.lower() in text


def test_a_name_of_the_configuration_never_takes_a_variable_of_nginx_s_include() -> None:
    """Attack: a configured header `Deny-Status`, and whoever sends it chooses his own status."""
    text = "\n".join(block.text for block in GATEWAYS["nginx"].blocks(ODD))
    assert "auth_request_set $forwardauth_deny_status_header $upstream_http_deny_status;" in text
    assert "proxy_set_header Key $forwardauth_key_header;" in text
    variables = [line.split()[1] for line in text.splitlines() if line.startswith("auth_request_set")]
    assert len(set(variables)) == len(variables)
