"""User name and password by Basic, against an htpasswd file or a list. Knows stored hashes, and never hashes itself.

Whether a password fits its hash is a fact that costs up to a second of a processor, so it is a Need: `stores/passwords`
answers it in a thread, and the fact cache remembers successes for a while.
"""

import re
from dataclasses import dataclass, field

from forwardauth.authn.building import Materials, build_limit, check_realm
from forwardauth.authn.words import Words, password_words
from forwardauth.core.credentials import FOREIGN, BasicSource, Source, basic_pair
from forwardauth.core.keys import fingerprint
from forwardauth.core.memo import Memo
from forwardauth.core.model import Client, Facts, Identity, Need, Now, Rejected, RequestView, Verdict
from forwardauth.core.rate import Limit
from forwardauth.core.reasons import Denial
from forwardauth.core.secret import Secret

PASSWORD = "password"
"""The fetcher that compares a password: args are the stored hash, the password, and whether that user exists."""

# The formats of Apache's htpasswd that are worth reading; crypt(3)'s DES cuts passwords after 8 characters.
_HASH = re.compile(
    r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}"
    r"|\$apr1\$[^$]{1,8}\$[./A-Za-z0-9]{22}"
    r"|\{SHA\}[A-Za-z0-9+/]{27}="
)
EXTRA = ("passwords", ("bcrypt", "passlib"))
"""The extra that this kind needs, and the libraries by which it is found."""

_LONGEST_USER = 256
_LONGEST_PASSWORD = 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """`basic:`. `htpasswd` is a file of `user:hash` lines, `users` a list of such lines (bcrypt, apr1 or {SHA})."""

    htpasswd: str | None = None
    users: list[Secret] = field(default_factory=list)
    realm: str = ""
    rate: str | None = None


class Basic:
    """Asks for the fact whether the password fits, and answers with the user."""

    guessable = True
    reads: tuple[str, ...] = ()
    bypass = ()
    sources: tuple[Source, ...] = (BasicSource(),)

    def __init__(self, name: str, users: dict[str, str], words: Words, limit: Limit | None, process_key: bytes) -> None:
        self.name = name
        self.missing: Denial | None = words.missing
        self._users = users
        self._words = words
        self._limit = limit
        self._process_key = process_key
        # An unknown user costs what a known one costs: the longest hash, as the times of all users differ by its kind.
        self._decoy = max(users.values(), key=_cost, default="")
        # Only the shape of an answer: the verdict itself is the fact, which expires.
        self._identities: Memo[bytes, Identity] = Memo(4096)

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now) -> Verdict:
        """The user, once the fact says that the password fits."""
        presented = self.sources[0].find(view)
        if presented is None or presented is FOREIGN:
            return None
        pair = basic_pair(presented)
        if pair is None or len(pair[0]) > _LONGEST_USER or len(pair[1]) > _LONGEST_PASSWORD:
            return Rejected(self._words.invalid)
        user, password = pair
        stored = self._users.get(user)
        key = fingerprint(
            self._process_key, self.name.encode(), user.encode(), (stored or "").encode(), password.encode()
        )
        fits = facts.get(key)
        if fits is None:
            return Need(PASSWORD, key, (stored or self._decoy, password, stored is not None))
        return self._identity(user, key) if fits else Rejected(self._words.invalid)

    def foreign(self, header: bytes, value: bytes) -> bool | None:
        """Whether a value is skipped here; None where the header is not read."""
        if header != self.sources[0].header:
            return None
        return self.sources[0].find(RequestView(fields={header: value})) is FOREIGN

    def _identity(self, user: str, key: bytes) -> Identity:
        identity = self._identities.get(key)
        if identity is None:
            identity = Identity(
                authenticators=(self.name,),
                user=user,
                credential=f"{self.name}\n{user}",
                fingerprint=key,
                ambient=True,
                limit=self._limit,
            )
            self._identities.put(key, identity)
        return identity


def _cost(stored: str) -> int:
    if stored.startswith("$2"):
        return int(stored[4:6]) + 100
    return 1 if stored.startswith("$apr1$") else 0


def build(name: str, settings: Settings, materials: Materials) -> Basic:
    """The authenticator of these settings; mistakes go to `materials`."""
    users: dict[str, str] = {}
    for position, entry in enumerate(settings.users):
        _add(entry, f"users[{position}]", users, materials)
    if settings.htpasswd is not None:
        text = materials.text_of(settings.htpasswd, "htpasswd")
        for number, line in enumerate((text or "").splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                _add(line.strip(), f"htpasswd (line {number})", users, materials)
        if text is not None and not users:
            materials.mistake("htpasswd", "the file has no user; add one: htpasswd -B FILE NAME")
    elif not settings.users:
        materials.mistake("", "expected htpasswd (a file) or users (a list)")
    limit = build_limit(settings.rate, "rate", materials)
    return Basic(name, users, password_words(check_realm(settings.realm, materials)), limit, materials.process_key)


def _add(line: str, where: str, users: dict[str, str], materials: Materials) -> None:
    user, _, stored = line.partition(":")
    if not user or user in users:
        materials.mistake(where, "expected USER:HASH, each user once")
    elif not _HASH.fullmatch(stored):
        materials.mistake(where, "expected a bcrypt, apr1 or {SHA} hash; make one: htpasswd -nB USER")
    else:
        users[user] = stored
