"""What is sent back to a gateway. Knows no gateway and no wire: dialects and servers bring it into theirs."""

from dataclasses import dataclass, field

from forwardauth.core.model import Identity


@dataclass(slots=True, eq=False)
class Reply:
    """Status, headers in order, and a body. Replies are shared between requests and never changed.

    `wire` is where the decision lane keeps the bytes that it rendered from it.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = b""
    content_type: str = ""
    wire: bytes | None = field(default=None, repr=False)


IDENTITY_FIELDS: dict[str, str] = {
    "user": "X-Auth-User",
    "email": "X-Auth-Email",
    "groups": "X-Auth-Groups",
    "tenant": "X-Auth-Tenant",
    "key": "X-Auth-Key",
    "method": "X-Auth-Method",
}
"""Identity headers by the field that they carry: every one of them is on every 200, empty when unknown."""

# Visible ASCII but the percent sign and the comma: a value can neither end the header nor be read as two.
_PLAIN = frozenset(byte for byte in range(0x21, 0x7F) if byte not in b"%,")


def header_value(text: str) -> str:
    """A text as visible ASCII; everything else, `%` and `,` percent-encoded as UTF-8 (RFC 3986 2.1)."""
    encoded = text.encode("utf-8", "surrogatepass")
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in encoded)


def identity_headers(identity: Identity, further: dict[str, tuple[str, ...]]) -> tuple[tuple[str, str], ...]:
    """Every identity header exactly once; `further` are more names for a field (`identity_headers:`)."""
    values = {
        "user": header_value(identity.user),
        "email": header_value(identity.email),
        "groups": ",".join(map(header_value, identity.groups)),
        "tenant": header_value(identity.tenant),
        "key": header_value(identity.key),
        "method": identity.method,
    }
    standard = [(name, values[field]) for field, name in IDENTITY_FIELDS.items()]
    return (*standard, *((name, values[field]) for field, names in further.items() for name in names))
