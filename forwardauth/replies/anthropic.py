"""The envelope of the Anthropic API: `{"type": "error", "error": {"type", "message"}}`."""

import json

from forwardauth.core.reasons import BUSY, Denial

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "api_error",
}


def render(denial: Denial) -> bytes:
    """The body of a denial."""
    kind = "overloaded_error" if denial.reason is BUSY else _TYPES[denial.reason.status]
    return json.dumps({"type": "error", "error": {"type": kind, "message": denial.message}}).encode("ascii")
