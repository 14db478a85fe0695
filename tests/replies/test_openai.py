"""OpenAI's envelope: seeds/000's bodies to the letter, and what the SDK makes of them."""

import json

import pytest

from forwardauth.core.reasons import DENIALS, REASONS, Reason
from forwardauth.replies import deny
from tests.building import Bench

XAI = """
authenticators: {api: {token: {from: [{header: X-API-Token}], tokens: [{name: api, value: test123}]}}}
routes: [{path: /api/v1/*, require: api}]
"""
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "server_error",
}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(
            [],
            {
                "error": {
                    "message": "Missing X-API-Token header. Please provide your API token.",
                    "type": "authentication_error",
                    "code": "missing_token_header",
                }
            },
            id="missing",
        ),
        pytest.param(
            [("X-API-Token", "wrong")],
            {"error": {"message": "Invalid API token", "type": "authentication_error", "code": "invalid_token"}},
            id="invalid",
        ),
    ],
)
def test_the_bodies_of_the_first_system_are_its_own(
    headers: list[tuple[str, str]], body: dict[str, dict[str, str]]
) -> None:
    decision = Bench(XAI).ask("POST", "https://your-domain.com/api/v1/chat/completions", *headers)
    assert decision.denial is not None
    reply = deny(decision.denial, "openai")
    assert (reply.status, json.loads(reply.body)) == (401, body)
    assert list(json.loads(reply.body)["error"]) == ["message", "type", "code"]


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.word)
def test_a_type_belongs_to_its_status(reason: Reason) -> None:
    error = json.loads(deny(DENIALS[reason], "openai").body)["error"]
    assert error["type"] == TYPES[reason.status]
    assert error["code"] == (reason.code or reason.word)
