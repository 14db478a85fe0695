"""What authenticators have in common whose secret is looked up by its digest. Knows no store and no kind of key.

The first value of `from` that is nobody else's decides: known is an identity, everything else is refused. A second,
different key behind it is refused too, because the caller cannot mean both.
"""

from collections.abc import Callable
from dataclasses import dataclass

from forwardauth.authn.words import Words
from forwardauth.core.client_ip import Network
from forwardauth.core.credentials import FOREIGN, Source, foreign_shape
from forwardauth.core.keys import KeyFormat, digest
from forwardauth.core.model import Identity, Now, Rejected, RequestView, Verdict
from forwardauth.core.reasons import AMBIGUOUS_CREDENTIALS, DENIALS, UNAVAILABLE, Denial


@dataclass(slots=True, eq=False)
class Entry:
    """What a known secret stands for; `ambient` where a browser sent it unasked.

    `expires` is in seconds since 1970; `denial` refuses a secret that is known all the same (revoked, disabled).
    """

    identity: Identity
    ambient: Identity
    expires: float | None = None
    denial: Denial | None = None


Find = Callable[[bytes], Entry | None]
"""The entry of a SHA-256."""


class Lookup:
    """One authenticator's places and words. `format` is that of its own keys, where they have one.

    A kind answers `judge` by `look_up`, with what finds an entry.
    """

    guessable = False
    reads: tuple[str, ...] = ()

    def __init__(
        self, name: str, sources: tuple[Source, ...], words: Words, key_format: KeyFormat | None = None
    ) -> None:
        self.name = name
        self.missing: Denial | None = words.missing
        self.words = words
        self.format = key_format
        self._sources = sources
        self._looks = tuple((source, sources[position:]) for position, source in enumerate(sources, 1))

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where it looks: gateways must strip these."""
        return self._sources

    @property
    def bypass(self) -> tuple[Network, ...]:
        """The networks whose clients pass by their address alone."""
        return ()

    def unavailable(self, view: RequestView) -> Rejected:
        """What is answered while nobody knows which keys there are.

        It holds the value, so that others of an `any` do not count as a guess what may well be a good key here.
        """
        presented = (source.find(view) for source in self._sources)
        return Rejected(DENIALS[UNAVAILABLE], next((each for each in presented if isinstance(each, bytes)), None))

    def look_up(self, view: RequestView, now: Now, find: Find) -> Verdict:
        """The identity of the first value that is nobody else's, or why it is refused; None without one."""
        for source, later in self._looks:
            value = source.find(view)
            if value is None or value is FOREIGN:
                continue
            if self.format is not None and self.format.mistyped(value):
                return Rejected(self.words.invalid, value)
            entry = find(_digest(view, value))
            if entry is None:
                if self.format is not None and self.format.matches(value):
                    return Rejected(self.words.invalid, value)
                if foreign_shape(value):
                    continue
                return Rejected(self.words.unknown, value)
            if later and self._presents_another(value, entry, later, view, find):
                return Rejected(DENIALS[AMBIGUOUS_CREDENTIALS])
            if entry.denial is not None:
                return Rejected(entry.denial, value)
            if entry.expires is not None and now.wall >= entry.expires:
                return Rejected(self.words.expired, value)
            return entry.ambient if source.ambient else entry.identity
        return None

    def skips(self, header: bytes, value: bytes, find: Find) -> bool | None:
        """Whether a header's value is somebody else's; None where the header is not read."""
        sources = [source for source in self._sources if source.header == header]
        if not sources:
            return None
        view = RequestView(fields={header: value})
        presented = [source.find(view) for source in sources]
        return all(
            found is FOREIGN or (found is not None and find(digest(found)) is None and self._is_foreign(found))
            for found in presented
        )

    def _is_foreign(self, value: bytes) -> bool:
        return foreign_shape(value) and not (self.format is not None and self.format.matches(value))

    def _presents_another(
        self, first: bytes, entry: Entry, sources: tuple[Source, ...], view: RequestView, find: Find
    ) -> bool:
        """Whether a later place holds a known key of somebody else, or another one of our own format."""
        for source in sources:
            value = source.find(view)
            if value is None or value is FOREIGN or value == first:
                continue
            other = find(_digest(view, value))
            if other is not None:
                if other.identity.credential != entry.identity.credential:
                    return True
            elif self.format is not None and self.format.matches(value):
                return True
        return False


def _digest(view: RequestView, value: bytes) -> bytes:
    """The digest of what the request presents; the members of an `any` mostly look at the same value."""
    hashed = view.hashed
    if hashed is None or hashed[0] != value:
        hashed = view.hashed = (value, digest(value))
    return hashed[1]
