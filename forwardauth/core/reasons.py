"""Every reason for a denial, in one table. Knows no request and no body format.

`word` is what the audit and the metrics say, `code` and `message` what the caller reads, `counts` whether it is a
failed attempt for the lockout, `retry` what `x-should-retry` tells the big SDKs (None: their own rule decides).
Messages say what the caller can do; never where keys lie or which part of a credential was right.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Reason:
    """Why a request is denied. `status` is the HTTP status that a caller reads."""

    word: str
    status: int
    message: str
    code: str = ""
    counts: bool = False
    retry: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Denial:
    """One reason in the words for one place: made once, when a configuration is read, and then only passed on.

    `challenge` is the value of `WWW-Authenticate` (RFC 9110 11.6.1), empty where there is none; `header` where the
    credential belongs. `owned` is false for an unknown opaque value that another authenticator of an `any` may know.
    """

    reason: Reason
    code: str
    message: str
    challenge: str = ""
    header: str = "Authorization"
    owned: bool = True


MALFORMED_SUBREQUEST = Reason(
    "malformed_subrequest", 400, "The request could not be read: a header is missing, repeated or unreadable."
)
LOOKALIKE_HEADER = Reason(
    "lookalike_header",
    400,
    "The request has a header whose name imitates one that this gateway sets. Remove it.",
)
AMBIGUOUS_PATH = Reason(
    "ambiguous_path",
    400,
    "The path can be read in more than one way. Send it without dot segments and needless escapes.",
)
AMBIGUOUS_CREDENTIALS = Reason(
    "ambiguous_credentials", 400, "The request has more than one credential. Send exactly one."
)
UNTRUSTED_PEER = Reason("untrusted_peer", 403, "This address may not ask for decisions.")
NO_ROUTE = Reason("no_route", 403, "There is nothing here for this method, host and path.")
INSUFFICIENT_SCOPE = Reason("insufficient_scope", 403, "This credential is not allowed to do that.")
MODEL_NOT_ALLOWED = Reason("model_not_allowed", 403, "This credential is not allowed to use that model.")
NETWORK_NOT_ALLOWED = Reason("network_not_allowed", 403, "This address is not allowed.")
CROSS_SITE = Reason(
    "cross_site", 403, "A page of another site made this request. Send a credential in a header of its own."
)
MISSING_CREDENTIAL = Reason("missing_credential", 401, "Missing credential.", "missing_authorization")
INVALID_CREDENTIAL = Reason("invalid_credential", 401, "Invalid API token", "invalid_token", counts=True)
EXPIRED_CREDENTIAL = Reason("expired_credential", 401, "This API token has expired.", "invalid_token")
REVOKED_CREDENTIAL = Reason("revoked_credential", 401, "This API token has been revoked.", "invalid_token")
DISABLED_CREDENTIAL = Reason("disabled_credential", 401, "This API token is disabled.", "invalid_token")
LOCKED_OUT = Reason(
    "locked_out", 429, "Too many failed attempts from this address. Wait before you try again.", retry=False
)
RATE_LIMITED = Reason("rate_limited", 429, "Rate limit exceeded. Wait before you try again.", "rate_limit_exceeded")
BUSY = Reason("busy", 503, "Too many password checks are waiting. Try again shortly.")
UNAVAILABLE = Reason("unavailable", 503, "The request cannot be checked at the moment. Try again shortly.")
FAULT = Reason("fault", 503, "The request could not be checked. Try again shortly.")

REASONS: tuple[Reason, ...] = (
    MALFORMED_SUBREQUEST,
    LOOKALIKE_HEADER,
    AMBIGUOUS_PATH,
    AMBIGUOUS_CREDENTIALS,
    UNTRUSTED_PEER,
    NO_ROUTE,
    INSUFFICIENT_SCOPE,
    MODEL_NOT_ALLOWED,
    NETWORK_NOT_ALLOWED,
    CROSS_SITE,
    MISSING_CREDENTIAL,
    INVALID_CREDENTIAL,
    EXPIRED_CREDENTIAL,
    REVOKED_CREDENTIAL,
    DISABLED_CREDENTIAL,
    LOCKED_OUT,
    RATE_LIMITED,
    BUSY,
    UNAVAILABLE,
    FAULT,
)

DENIALS: dict[Reason, Denial] = {
    reason: Denial(reason, reason.code or reason.word, reason.message) for reason in REASONS
}
