"""What a caller reads who presents nothing, or the wrong thing. Knows places of credentials, no credential.

The challenges are RFC 6750 3 (Bearer), RFC 7617 2 and 2.1 (Basic) and, for a header of its own, a scheme `ApiKey` that
names it, because RFC 9110 15.5.2 wants a challenge on every 401.
"""

from dataclasses import dataclass, replace

from forwardauth.core.credentials import (
    BearerSource,
    CookieSource,
    HeaderSource,
    PasswordSource,
    QuerySource,
    Source,
)
from forwardauth.core.reasons import (
    DISABLED_CREDENTIAL,
    EXPIRED_CREDENTIAL,
    INVALID_CREDENTIAL,
    MISSING_CREDENTIAL,
    REVOKED_CREDENTIAL,
    Denial,
    Reason,
)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The denials of one authenticator, made once. `unknown` is an invalid value that another one may own."""

    missing: Denial
    invalid: Denial
    unknown: Denial
    expired: Denial
    revoked: Denial
    disabled: Denial


def token_words(first: Source, realm: str) -> Words:
    """The words of a key or token, for the first place where it is looked for."""
    challenge, refused, sentence = _challenge(first, realm)
    header = first.name if isinstance(first, HeaderSource) else "Authorization"
    code = "missing_token_header" if isinstance(first, HeaderSource) else "missing_authorization"

    def denial(reason: Reason) -> Denial:
        return Denial(reason, reason.code, reason.message, refused, header)

    return Words(
        missing=Denial(MISSING_CREDENTIAL, code, sentence, challenge, header),
        invalid=denial(INVALID_CREDENTIAL),
        unknown=replace(denial(INVALID_CREDENTIAL), owned=False),
        expired=denial(EXPIRED_CREDENTIAL),
        revoked=denial(REVOKED_CREDENTIAL),
        disabled=denial(DISABLED_CREDENTIAL),
    )


def _challenge(first: Source, realm: str) -> tuple[str, str, str]:
    if isinstance(first, BearerSource):
        words = "Missing Authorization header. Please provide your API token as 'Authorization: Bearer <token>'."
        with_realm = f'Bearer realm="{realm}"' if realm else "Bearer"
        separator = ", " if realm else " "
        return with_realm, f'{with_realm}{separator}error="invalid_token"', words
    if isinstance(first, HeaderSource):
        challenge = f'ApiKey realm="{realm or "forwardauth"}", header="{first.name}"'
        return challenge, challenge, f"Missing {first.name} header. Please provide your API token."
    if isinstance(first, PasswordSource):
        challenge = f'Basic realm="{realm or "forwardauth"}", charset="UTF-8"'
        return challenge, challenge, "Missing Authorization header. Please provide your API token as the password."
    if isinstance(first, QuerySource):
        challenge = f'ApiKey realm="{realm or "forwardauth"}", query="{first.parameter.decode()}"'
        return challenge, challenge, f"Missing parameter {first.parameter.decode()}. Please provide your API token."
    assert isinstance(first, CookieSource)
    challenge = f'ApiKey realm="{realm or "forwardauth"}", cookie="{first.cookie.decode()}"'
    return challenge, challenge, "Missing credential. Please sign in or provide your API token."


def password_words(realm: str) -> Words:
    """The words of a user name and password."""
    challenge = f'Basic realm="{realm or "forwardauth"}", charset="UTF-8"'
    missing = "Missing Authorization header. Please provide a user name and a password."
    invalid = Denial(INVALID_CREDENTIAL, "invalid_credentials", "Invalid user name or password", challenge)
    return Words(
        missing=Denial(MISSING_CREDENTIAL, "missing_authorization", missing, challenge),
        invalid=invalid,
        unknown=invalid,
        expired=invalid,
        revoked=invalid,
        disabled=invalid,
    )
