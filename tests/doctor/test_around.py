"""The service's own listeners are known by what they really answer."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from forwardauth import __version__
from forwardauth.core.reasons import DENIALS, MALFORMED_SUBREQUEST, MISSING_CREDENTIAL
from forwardauth.core.reply import Reply
from forwardauth.doctor import examine
from forwardauth.doctor.around import _is_verdict
from forwardauth.doctor.wire import Answer
from forwardauth.gateways import GATEWAYS
from forwardauth.replies import FORMATS
from forwardauth.telemetry.metrics import Metrics
from forwardauth.web.admin import admin_application
from tests.doctor.fake import Asked, Fake, Said, visited


class Operations:
    """An idle service."""

    def metrics(self) -> bytes:
        return Metrics(__version__).render()

    def lockouts(self) -> list[dict[str, object]]:
        return []


@pytest.fixture(params=["127.0.0.1", "llm.example.com"])
async def admin(request: pytest.FixtureRequest, aiohttp_client: Any) -> Any:
    """The admin listener of this name, with a token that nobody sends."""
    operations: Any = Operations()
    app: web.Application = admin_application(operations, "admin-token", request.param)
    return await aiohttp_client(app)


async def found(fake: Fake) -> list[str]:
    async with visited(fake) as site:
        return [finding.what async for outcome in examine(site) for finding in outcome.findings]


@pytest.mark.parametrize("path", ["/metrics", "/control/lockouts"])
async def test_the_admin_listener(path: str, admin: Any) -> None:
    """A gateway hands a path on to `server.admin`, under its own host or under the client's."""
    response = await admin.get(path, headers={"Host": "llm.example.com"})
    body = await response.text()

    class Routed(Fake):
        def gateway(self, asked: Asked) -> Said:
            return (response.status, {}, body) if asked.path == path else super().gateway(asked)

    assert [what.partition(":")[0] for what in await found(Routed())] == [f"{path} is the service's own"]


@pytest.mark.parametrize("name", GATEWAYS)
@pytest.mark.parametrize("reason", [MISSING_CREDENTIAL, MALFORMED_SUBREQUEST], ids=lambda reason: reason.word)
def test_every_dialect_is_told_apart(name: str, reason: Any) -> None:
    """A denial of the decision listener as each dialect writes it; what looks like any 401 tells the doctor nothing."""
    content_type, render = FORMATS["openai"]
    reply = GATEWAYS[name].write(Reply(reason.status, (), render(DENIALS[reason]), content_type))
    known = _is_verdict(Answer(reply.status, reply.headers, reply.body))
    assert known is (name == "nginx" or reason is MALFORMED_SUBREQUEST)
