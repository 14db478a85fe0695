"""FastAPI's `{"detail": …}`, with one sentence for a key that is missing or wrong."""

import json

from forwardauth.core.reasons import INVALID_CREDENTIAL, MISSING_CREDENTIAL, Denial


def render(denial: Denial) -> bytes:
    """The body of a denial."""
    sentence = denial.message
    if denial.reason in (MISSING_CREDENTIAL, INVALID_CREDENTIAL):
        sentence = f"Invalid or missing API key. Please provide a valid {denial.header} header."
    return json.dumps({"detail": sentence}).encode("ascii")
