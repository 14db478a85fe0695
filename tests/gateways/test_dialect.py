"""The registry of gateways: the configuration names which dialects exist."""

import pytest

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.gateways import GATEWAYS
from forwardauth.service import Service
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from tests.building import snapshot


def status(gateways: str, path: str) -> int:
    configured = snapshot(f"server: {{gateways: {gateways}}}\nroutes: [{{path: /*, public: true}}]")
    service = Service(configured, {}, AuditLog("off"), Metrics("test"))
    reply = service.answer(Subrequest(b"GET", path.encode(), [(b"Host", b"x")], "127.0.0.1"))
    assert isinstance(reply, Reply)
    return reply.status


@pytest.mark.parametrize(
    ("gateways", "path", "expected"),
    [
        ("[traefik]", "/verify/traefik", 400),
        ("[traefik]", "/verify/nginx", 404),
        ("[nginx]", "/verify/traefik", 404),
        ("[nginx]", "/verify/nginx", 403),
        ("[traefik]", "/verify", 404),
        ("[traefik]", "/verify/", 404),
        ("[traefik]", "/verify/traefik/", 404),
        ("[traefik]", "//verify/traefik", 404),
        ("[traefik]", "/health", 200),
        ("[traefik]", "//health", 404),
        ("[traefik]", "/verify/../health", 404),
    ],
)
def test_a_dialect_that_is_not_named_does_not_exist(gateways: str, path: str, expected: int) -> None:
    """Attack: ask through the dialect of a gateway that is not there (THREATS 39)."""
    assert status(gateways, path) == expected


def test_every_dialect_has_its_own_name_and_path() -> None:
    for name, dialect in GATEWAYS.items():
        assert (dialect.name, dialect.path) == (name, f"/verify/{name}")
        assert all(header == header.lower() for header in dialect.headers)
