"""What objects show of themselves, and when two identities are one caller."""

import gc
from dataclasses import replace

import pytest

from forwardauth.core.model import Identity, Need, RequestView, Subrequest
from tests.building import shaped

BOB = Identity(authenticators=("staff",), user="bob", credential="staff\nbob", fingerprint=b"f")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (replace(BOB, authenticators=("other",), credential="other\nbob", fingerprint=b"g"), True),
        (replace(BOB, user="eve"), False),
        (replace(BOB, email="bob@example.com"), False),
        (replace(BOB, groups=("admins",)), False),
        (replace(BOB, tenant="t"), False),
        (replace(BOB, key="k"), False),
    ],
    ids=["through another door", "another user", "another email", "other groups", "another tenant", "another key"],
)
def test_a_caller_is_the_same_by_what_the_backend_reads(other: Identity, same: bool) -> None:
    assert BOB.same_caller(other) is same


def test_an_identity_that_nobody_keeps_is_freed_at_once() -> None:
    """Attack: use a hundred thousand keys in turn, faster than the collector looks for cycles."""
    gc.collect()
    identity = Identity(authenticators=("staff",), user="bob")
    assert identity.parts == (identity,)
    del identity
    assert gc.collect() == 0


def test_no_repr_shows_a_secret() -> None:
    """Attack: read a log that a crash, or somebody's debugging, left behind."""
    headers = [(b"Authorization", b"Bearer hunter2")]
    for shown in (
        Need("password", b"key", ("$2b$...", "hunter2", True)),
        Subrequest(b"GET", b"/?api_key=hunter2", headers, "127.0.0.1"),
        shaped([b"Authorization"], [b"Bearer hunter2"]),
        Subrequest(b"GET", b"/", shaped([b"Authorization"], [b"Bearer hunter2"]), None),
        RequestView(target=b"/?api_key=hunter2", fields={b"authorization": b"Bearer hunter2"}),
    ):
        assert "hunter2" not in repr(shown)
