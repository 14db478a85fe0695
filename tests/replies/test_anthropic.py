"""Anthropic's envelope and its types."""

import json

import pytest

from forwardauth.core.reasons import DENIALS, REASONS, Reason
from forwardauth.replies import deny

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "api_error",
}


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.word)
def test_an_error_has_the_apis_shape_and_types(reason: Reason) -> None:
    expected = "overloaded_error" if reason.word == "busy" else TYPES[reason.status]
    assert json.loads(deny(DENIALS[reason], "anthropic").body) == {
        "type": "error",
        "error": {"type": expected, "message": reason.message},
    }
