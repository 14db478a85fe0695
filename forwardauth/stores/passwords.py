"""The only door to password hashes. Knows htpasswd's formats, no user and no request.

The libraries are imported at the first use, because they cost 15 MB that a configuration with tokens alone never needs.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from forwardauth.core.model import Need

# bcrypt reads 72 bytes; what is longer would be cut, so that two passwords would open one account.
_BCRYPT_BYTES = 72


def verify(stored: str, password: str) -> bool:
    """Whether a password fits a hash (bcrypt, apr1, {SHA}). Takes up to a second for bcrypt; releases the interpreter.

    Raises ImportError with what to install where the `passwords` extra is missing.
    """
    secret = password.encode()
    if b"\0" in secret:
        return False
    if stored.startswith("$2"):
        import bcrypt

        return len(secret) <= _BCRYPT_BYTES and bcrypt.checkpw(secret, stored.encode())
    from passlib import hash as schemes

    scheme = schemes.apr_md5_crypt if stored.startswith("$apr1$") else schemes.ldap_sha1
    return bool(scheme.verify(secret, stored))


class PasswordChecks:
    """Compares passwords in threads; equal checks in flight share one hash.

    `threads` is kept small: a hash takes a whole processor, and the decisions of everybody else need one too.
    """

    def __init__(self, threads: int = 2) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._running: dict[bytes, asyncio.Future[bool]] = {}

    async def fetch(self, need: Need) -> bool:
        """Whether the password of a need fits; a user that does not exist costs the same and never fits."""
        running = self._running.get(need.key)
        if running is None:
            running = asyncio.get_running_loop().run_in_executor(self._threads, partial(_answer, need))
            self._running[need.key] = running
            running.add_done_callback(lambda _: self._running.pop(need.key, None))
        # A hash is finished even if its client left, so that the memory of successes fills.
        return await asyncio.shield(running)

    def close(self) -> None:
        """Let no further check begin."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _answer(need: Need) -> bool:
    stored, password, exists = need.args
    return verify(str(stored), str(password)) and exists is True
