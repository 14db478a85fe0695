"""The envelope of the OpenAI API: `{"error": {"message", "type", "code"}}`, which its SDKs unwrap."""

import json

from forwardauth.core.reasons import Denial

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "server_error",
}


def render(denial: Denial) -> bytes:
    """The body of a denial."""
    error = {"message": denial.message, "type": _TYPES[denial.reason.status], "code": denial.code}
    return json.dumps({"error": error}).encode("ascii")
