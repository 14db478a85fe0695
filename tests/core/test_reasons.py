"""The table of denials is the contract's: status, code, whether it counts."""

import pytest

from forwardauth.core.reasons import DENIALS, REASONS, Reason

CONTRACT = {
    "malformed_subrequest": (400, "malformed_subrequest", False),
    "lookalike_header": (400, "lookalike_header", False),
    "ambiguous_path": (400, "ambiguous_path", False),
    "ambiguous_credentials": (400, "ambiguous_credentials", False),
    "untrusted_peer": (403, "untrusted_peer", False),
    "no_route": (403, "no_route", False),
    "insufficient_scope": (403, "insufficient_scope", False),
    "model_not_allowed": (403, "model_not_allowed", False),
    "network_not_allowed": (403, "network_not_allowed", False),
    "cross_site": (403, "cross_site", False),
    "missing_credential": (401, "missing_authorization", False),
    "invalid_credential": (401, "invalid_token", True),
    "expired_credential": (401, "invalid_token", False),
    "revoked_credential": (401, "invalid_token", False),
    "disabled_credential": (401, "invalid_token", False),
    "locked_out": (429, "locked_out", False),
    "rate_limited": (429, "rate_limit_exceeded", False),
    "busy": (503, "busy", False),
    "unavailable": (503, "unavailable", False),
    "fault": (503, "fault", False),
}


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.word)
def test_a_reason_has_the_contracts_status_and_code_and_counts_as_it_says(reason: Reason) -> None:
    assert (reason.status, DENIALS[reason].code, reason.counts) == CONTRACT[reason.word]


def test_every_word_stands_there_once() -> None:
    assert sorted(reason.word for reason in REASONS) == sorted(CONTRACT)


def test_no_message_says_where_keys_lie_or_which_part_was_right() -> None:
    for reason in REASONS:
        assert reason.message.isascii()
        assert not {"file", "user", "database", "digest", "unknown", "exist"} & set(reason.message.lower().split())
