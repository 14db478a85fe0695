"""People in front of a browser: a page view without a credential goes to the login page, an API call reads a 401."""

from __future__ import annotations

import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Client
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.gateways import PLAIN
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import TOKEN

DOMAIN = HOST.partition(".")[2]
LOGIN = f"https://auth.{DOMAIN}/oauth2/start"
PAGES = Setup(
    config=f"""
authenticators:
  session: {{token: {{from: [{{cookie: session}}], tokens: [{{name: alice, value: {TOKEN}}}]}}}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: pages, path: [/app, /app/*], require: session, login: "{LOGIN}"}}
  - {{name: rest, path: /*, require: session}}
"""
)
PAGE = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")


@pytest.fixture(params=PLAIN)
def site(request: pytest.FixtureRequest, deploy: Deploy) -> Deployment:
    return deploy(request.param, PAGES)


def test_a_page_view_goes_to_the_login_page_and_comes_back(client: Client, backend: Backend) -> None:
    answer = client.get("/app/report?year=2026&q=a%2Fb", PAGE)
    assert answer.status == 302
    assert answer.headers["Location"] == (f"{LOGIN}?rd=http%3A%2F%2F{HOST}%2Fapp%2Freport%3Fyear%3D2026%26q%3Da%252Fb")
    assert answer.headers["Cache-Control"] == "no-store"
    assert not backend.seen
    allowed = client.get("/app/report", PAGE, ("Cookie", f"session={TOKEN}"))
    assert (allowed.status, len(backend.seen)) == (200, 1)


def test_an_api_call_reads_a_401(client: Client, backend: Backend) -> None:
    for answer in (
        client.get("/app", ("Accept", "application/json")),
        client.get("/app", ("Accept", "*/*")),
        client.request("POST", "/app", [PAGE]),
        client.get("/v1/models", PAGE),
    ):
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"]
        assert "Location" not in answer.headers
    assert not backend.seen


def test_a_made_up_return_address_is_not_handed_on(client: Client) -> None:
    """Attack: name an address to come back to, and have the login page send its user there (THREATS 29)."""
    for header in ("X-Auth-Request-Redirect", "X-Forwarded-Prefix", "Referer", "Origin"):
        answer = client.get("/app", PAGE, (header, "https://evil.example/"))
        assert answer.status == 302
        assert "evil" not in answer.headers["Location"]
    answer = client.get("/app?rd=https://evil.example/", PAGE)
    assert answer.headers["Location"].count("rd=") == 1
    assert answer.headers["Location"].startswith(f"{LOGIN}?rd=http%3A%2F%2F{HOST}%2Fapp%3Frd")
