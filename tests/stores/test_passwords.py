"""Password hashes: the three formats that Apache's htpasswd makes, and what no library may be asked."""

import asyncio
import threading

import pytest

from forwardauth.core.model import Need
from forwardauth.stores.passwords import PasswordChecks, verify

PASSWORD = "correct horse"
BCRYPT = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
BCRYPT_OF_72 = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i"
STORED = {
    "bcrypt": BCRYPT,
    "bcrypt as Apache writes it": "$2y$04$ygRProQnFk9ioTaCa3fLD.s6j/Dj5TFFeeYInJuUMlcbQh5izjWXW",
    "apr1": "$apr1$m3R2vBeA$lH2nGqDVUr/JTudSrdsBU0",
    "SHA": "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
}


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED.keys())
def test_a_password_fits_its_hash_and_no_other_does(stored: str) -> None:
    assert verify(stored, PASSWORD)
    for wrong in ("", "correct hors", "correct horse ", "Correct horse", "correct horse\0", "\0", "ü"):
        assert not verify(stored, wrong)


def test_a_password_beyond_bcrypts_72_bytes_never_fits() -> None:
    """Attack: bcrypt reads 72 bytes, so 73 that begin alike would open the account; newer libraries raise instead."""
    assert verify(BCRYPT_OF_72, "x" * 72)
    assert not verify(BCRYPT_OF_72, "x" * 73)
    assert not verify(BCRYPT_OF_72, "x" * 72 + "\0")
    assert not verify(BCRYPT, "ü" * 37)


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED.keys())
@pytest.mark.parametrize("password", ["x" * 1024, "ü" * 1024, "😀"], ids=["long", "long, not ASCII", "four bytes"])
def test_no_content_of_a_password_raises(stored: str, password: str) -> None:
    assert verify(stored, password) is False


async def test_a_user_that_does_not_exist_never_fits_even_its_decoy() -> None:
    checks = PasswordChecks()
    try:
        assert await checks.fetch(Need("password", b"known", (BCRYPT, PASSWORD, True))) is True
        assert await checks.fetch(Need("password", b"unknown", (BCRYPT, PASSWORD, False))) is False
    finally:
        checks.close()


class Gate:
    """A stored hash that tells how often it is read, and lets nobody read it before a test opens it."""

    def __init__(self) -> None:
        self.read = 0
        self.opened = threading.Event()

    def __str__(self) -> str:
        self.read += 1
        assert self.opened.wait(10)
        return STORED["SHA"]


async def test_equal_checks_in_flight_share_one_hash() -> None:
    """Ten parallel requests with one right password cost one hash, and are ten times right."""
    checks, gate = PasswordChecks(), Gate()
    try:
        need = Need("password", b"key", (gate, PASSWORD, True))
        asking = [asyncio.create_task(checks.fetch(need)) for _ in range(10)]
        await asyncio.sleep(0)
        gate.opened.set()
        assert await asyncio.gather(*asking) == [True] * 10
        assert gate.read == 1
        assert await checks.fetch(need) is True
        assert gate.read == 2
    finally:
        checks.close()


async def test_a_hash_is_finished_even_if_its_client_left() -> None:
    """Attack: hang up after every guess, so that none of them is ever settled."""
    checks, gate = PasswordChecks(), Gate()
    try:
        need = Need("password", b"key", (gate, PASSWORD, True))
        left, stays = (asyncio.create_task(checks.fetch(need)) for _ in range(2))
        await asyncio.sleep(0)
        left.cancel()
        gate.opened.set()
        assert await stays is True
        with pytest.raises(asyncio.CancelledError):
            await left
        assert gate.read == 1
    finally:
        checks.close()
