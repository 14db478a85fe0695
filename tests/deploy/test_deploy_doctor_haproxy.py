"""Broken configurations of HAProxy: the doctor finds each break, and names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.rig.gateways.haproxy import Haproxy
from tests.doctor.rig import BURST, Break, Edit, finds

CONF, ACTION = "haproxy.cfg", "forwardauth.lua"

ASK, DENY = "http-request lua.forwardauth\n", "http-request deny deny_status 503"
ALLOWED = "{ var(txn.forwardauth_allowed) -m bool }"
ANSWER = "txn:done(txn:reply({ status = answer.status, headers = answer.headers, body = answer.body }))"
IDENTITY = (
    '  "x-auth-user",\n  "x-auth-email",\n  "x-auth-groups",\n  "x-auth-tenant",\n  "x-auth-key",\n  "x-auth-method",\n'
)


def asked_only(condition: str) -> tuple[Edit, ...]:
    """Neither the question nor the rule behind it for the rest."""
    return (
        Edit(CONF, ASK, f"http-request lua.forwardauth if {condition}\n"),
        Edit(CONF, f"unless {ALLOWED}", f"if {condition} !{ALLOWED}"),
    )


UNGUARDED = frozenset(
    {"spoofed-identity", "lookalike-names", "credential-ends-here", "reflecting-methods", "forged-address"}
    | {"forged-origin", "other-upgrades"}
)

BREAKS = [
    Break(
        "the frontend asks nobody",
        asked_only("FALSE"),
        UNGUARDED | {"no-credential", "identity-arrives"},
        (CONF, "http-request lua.forwardauth"),
    ),
    Break(
        "the open path is not asked about",
        asked_only("!{ path_beg /health }"),
        UNGUARDED | {"open-path-tricks"},
        (CONF, "lua.forwardauth if"),
    ),
    Break(
        "GET alone is asked about",
        asked_only("METH_GET"),
        frozenset({"other-methods", "reflecting-methods"}),
        (CONF, "lua.forwardauth if"),
    ),
    Break(
        "one header of identity is not set",
        (Edit(ACTION, '  "x-auth-user",\n'),),
        frozenset({"spoofed-identity"}),
        (ACTION, '"x-auth-user",'),
    ),
    Break(
        "identity is not set",
        (Edit(ACTION, IDENTITY),),
        frozenset({"identity-arrives", "spoofed-identity"}),
        (ACTION, '"x-auth-key",'),
    ),
    Break(
        "the token is not deleted",
        (Edit(ACTION, '  "x-api-token",\n'),),
        frozenset({"credential-ends-here"}),
        (ACTION, '"x-api-token",'),
    ),
    Break(
        "a client names its address",
        (Edit(CONF, ASK, f"http-request set-src req.hdr(X-Forwarded-For)\n    {ASK}"),),
        frozenset({"forged-address", "lockout"}),
        (CONF, "http-request set-src"),
        BURST,
    ),
    Break(
        "a client's own traces are believed",
        (Edit(ACTION, "headers[name] = { value }", "headers[name] = headers[name] or { value }"),),
        frozenset({"forged-request", "lockout"}),
        (ACTION, "headers[name] = { value }"),
        BURST,
    ),
    Break(
        "the backend gets the addresses that a client wrote",
        (Edit(ACTION, "put(txn, name, TOLD_TO_BACKEND[name] and value)"),),
        frozenset({"forged-address", "forged-origin"}),
        (ACTION, '["x-forwarded-for"] = true,'),
        BURST,
    ),
    Break(
        "every upgrade is handed on",
        (Edit(ACTION, 'put(txn, "upgrade", websocket and "websocket")'),),
        frozenset({"other-upgrades"}),
        (ACTION, 'put(txn, "upgrade", websocket and "websocket")'),
    ),
    Break(
        "denials lose their headers",
        (Edit(ACTION, "headers = answer.headers, body", "headers = {}, body"),),
        frozenset({"denial-intact", "lockout"}),
        (ACTION, ANSWER),
        BURST,
    ),
    Break(
        "denials lose their bodies",
        (Edit(ACTION, ", body = answer.body"),),
        frozenset({"denial-intact", "lockout"}),
        (ACTION, ANSWER),
        BURST,
    ),
    Break(
        "denials are server errors",
        (Edit(ACTION, ANSWER),),
        frozenset({"repeated-credential", "denial-intact"}),
        (ACTION, ANSWER),
        BURST,
    ),
    Break(
        "a key in the query is taken for a header",
        (
            Edit(
                CONF,
                ASK,
                f"http-request set-header X-API-Token %[url_param(key)] if {{ url_param(key) -m found }}\n    {ASK}",
            ),
        ),
        frozenset({"query-credential"}),
        (CONF, "url_param("),
    ),
    Break(
        "the section of the service is a backend",
        (
            *asked_only("!{ path_beg /verify }"),
            Edit(
                CONF,
                "use_backend llm if llm",
                "use_backend forwardauth if { path_beg /verify }\n    use_backend llm if llm",
            ),
        ),
        frozenset({"decision-listener"}),
        (CONF, "use_backend forwardauth"),
    ),
]


@pytest.mark.parametrize("planted", BREAKS, ids=str)
def test_is_found(planted: Break, tmp_path: Path) -> None:
    finds("haproxy", Haproxy, planted, tmp_path)
