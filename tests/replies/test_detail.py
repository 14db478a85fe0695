"""FastAPI's envelope: seeds/001's sentence to the letter, for a key that is missing or wrong."""

import json

import pytest

from forwardauth.core.reasons import DENIALS, NO_ROUTE
from forwardauth.replies import deny
from tests.building import Bench

ORCHESTRA = """
authenticators: {keys: {token: {from: [{header: X-API-Key}], tokens: [{name: demo, value: demo-key-12345}]}}}
routes: [{path: /infer, require: keys}]
errors: detail
"""


@pytest.mark.parametrize("headers", [[], [("X-API-Key", "wrong")]], ids=["missing", "invalid"])
def test_the_body_of_the_second_system_is_its_own(headers: list[tuple[str, str]]) -> None:
    bench = Bench(ORCHESTRA)
    decision = bench.ask("POST", "http://your-server:9001/infer", *headers)
    assert decision.denial is not None
    reply = deny(decision.denial, bench.snapshot.errors)
    assert reply.status == 401
    assert json.loads(reply.body) == {"detail": "Invalid or missing API key. Please provide a valid X-API-Key header."}


def test_any_other_denial_says_what_it_is() -> None:
    assert json.loads(deny(DENIALS[NO_ROUTE], "detail").body) == {"detail": NO_ROUTE.message}
