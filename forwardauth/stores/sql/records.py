"""A key as it is handed over and shown. Knows no database."""

from dataclasses import dataclass, field

from forwardauth.stores.sql.errors import StoreError


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to store. `digest` is what is stored for its secret, 32 bytes; `pepper` the id of the pepper in it, or "".

    `created` and `expires` are seconds since 1970; `scopes` and `metadata` JSON.
    """

    id: str
    name: str
    digest: bytes = field(repr=False)
    pepper: str
    created: float
    owner: str = ""
    tenant: str = ""
    expires: float | None = None
    scopes: str = "[]"
    rate: str = ""
    metadata: str = "{}"

    def check(self, which: str = "the key") -> None:
        """Raise StoreError for what one of the engines would take and the other would not."""
        texts = (self.id, self.name, self.owner, self.tenant, self.pepper, self.scopes, self.rate, self.metadata)
        try:
            if b"\0" in "".join(texts).encode():
                raise StoreError(f"{which} has a text with a NUL in it: nothing was changed")
        except UnicodeEncodeError:
            raise StoreError(f"{which} has a text that is no UTF-8: nothing was changed") from None
        if len(self.digest) != 32:
            raise StoreError(
                f"{which} has a digest of {len(self.digest)} bytes, and 32 are needed: nothing was changed"
            )


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What may be shown of a key. Times are seconds since 1970.

    `overlap_until` is when the last secret that a rotation replaced ends, or ended; None before any rotation.
    """

    id: str
    name: str
    owner: str
    tenant: str
    created: float
    expires: float | None
    disabled: bool
    revoked: float | None
    scopes: str
    rate: str
    metadata: str
    last_used: float | None
    overlap_until: float | None

    def state(self, now: float) -> str:
        """`revoked`, `disabled`, `expired` or `active`: the first that holds."""
        if self.revoked is not None:
            return "revoked"
        if self.disabled:
            return "disabled"
        return "expired" if self.expires is not None and now >= self.expires else "active"
