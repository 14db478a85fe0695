"""Broken configurations of Envoy: the doctor finds each break, and names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.rig.gateways.envoy import Envoy
from tests.doctor.rig import BURST, Break, Edit, finds

FILE = "envoy.yaml"

ROUTE = "                        - match: {prefix: /}\n"
CLAIMS = "regex: x-auth-(user|email|groups|tenant|key|method)"
SERVICE = "uri: http://forwardauth:9000\n                          cluster: forwardauth\n"
ADDRESS = 'header: {key: X-Forwarded-For, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}'
HOST_TOLD = 'header: {key: X-Forwarded-Host, value: "%REQ(:AUTHORITY)%"}'
NOTHING = 'header: {key: X-Nothing, value: "1"}'


def edited(old: str, new: str = "") -> Edit:
    return Edit(FILE, old, new)


def unasked(match: str, cluster: str = "llm") -> Edit:
    """A route before the others about which nobody is asked."""
    kind = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
    switched_off = f'{{envoy.filters.http.ext_authz: {{"@type": {kind}, disabled: true}}}}'
    entry = f"{{match: {match}, route: {{cluster: {cluster}}}, typed_per_filter_config: {switched_off}}}"
    return edited(ROUTE, f"                        - {entry}\n{ROUTE}")


RAW_PATHS = (
    edited("normalize_path: true", "normalize_path: false"),
    edited("merge_slashes: true", "merge_slashes: false"),
    edited("path_with_escaped_slashes_action: REJECT_REQUEST", "path_with_escaped_slashes_action: KEEP_UNCHANGED"),
)
UNGUARDED = frozenset({"lookalike-names", "open-path-tricks", "reflecting-methods"})

BREAKS = [
    Break(
        "no answer is a pass, and there is none",
        (
            edited("failure_mode_allow: false", "failure_mode_allow: true"),
            edited(SERVICE, SERVICE.replace("cluster: forwardauth", "cluster: nobody")),
        ),
        frozenset({"no-credential", "identity-arrives", "lookalike-names", "reflecting-methods"}),
        (FILE, "failure_mode_allow: false"),
    ),
    Break(
        "a route about which nobody is asked",
        (unasked("{prefix: /health}"),),
        UNGUARDED,
        (FILE, "typed_per_filter_config"),
    ),
    Break(
        "that route, on raw paths",
        (unasked("{prefix: /health}"), *RAW_PATHS),
        UNGUARDED,
        (FILE, "normalize_path: true"),
    ),
    Break(
        "that route, and names with underscores",
        (unasked("{prefix: /health}"), edited("headers_with_underscores_action: REJECT_REQUEST")),
        UNGUARDED,
        (FILE, "headers_with_underscores_action: REJECT_REQUEST"),
    ),
    Break(
        "POST passes without a question",
        (unasked('{prefix: /, headers: [{name: ":method", string_match: {exact: POST}}]}'),),
        frozenset({"other-methods"}),
        (FILE, "typed_per_filter_config"),
    ),
    Break(
        "the service has a route",
        (unasked("{prefix: /verify}", "forwardauth"),),
        frozenset({"decision-listener"}),
        (FILE, "route: {cluster: forwardauth"),
    ),
    Break(
        "the service sees no header that is not listed",
        (edited('patterns: [{safe_regex: {regex: ".*"}}]', "patterns: [{prefix: x-forwarded-}]"),),
        frozenset({"right-credential", "lookalike-names"}),
        (FILE, 'patterns: [{safe_regex: {regex: ".*"}}]'),
    ),
    Break(
        "the service sees the token, and no look-alike",
        (
            edited(
                'patterns: [{safe_regex: {regex: ".*"}}]', "patterns: [{prefix: x-forwarded-}, {exact: x-api-token}]"
            ),
        ),
        frozenset({"lookalike-names"}),
        (FILE, 'patterns: [{safe_regex: {regex: ".*"}}]'),
    ),
    Break(
        "identity is not handed on",
        (edited("patterns: [{prefix: x-auth-}]", "patterns: [{exact: x-nothing}]"),),
        frozenset({"identity-arrives"}),
        (FILE, "patterns: [{prefix: x-auth-}]"),
    ),
    Break(
        "nor is what a client claims deleted",
        (edited("patterns: [{prefix: x-auth-}]", "patterns: [{exact: x-nothing}]"), edited(CLAIMS, "regex: x-nothing")),
        frozenset({"identity-arrives", "spoofed-identity"}),
        (FILE, f"key_matcher: {{safe_regex: {{{CLAIMS}}}}}"),
    ),
    Break(
        "the token is not deleted",
        (edited("- remove: x-api-token\n", "- remove: x-nothing\n"),),
        frozenset({"credential-ends-here"}),
        (FILE, "- remove: x-api-token"),
    ),
    Break(
        "a client names its address",
        (edited("use_remote_address: true", "use_remote_address: false"),),
        frozenset({"forged-address", "forged-origin", "lockout"}),
        (FILE, "use_remote_address: true"),
        BURST,
    ),
    Break(
        "one hop is believed where there is none",
        (edited("xff_num_trusted_hops: 0", "xff_num_trusted_hops: 1"),),
        frozenset({"forged-address", "forged-origin", "lockout"}),
        (FILE, "xff_num_trusted_hops: 0"),
        BURST,
    ),
    Break(
        "the true address is put behind those that a client wrote",
        (edited(ADDRESS, NOTHING),),
        frozenset({"forged-address"}),
        (FILE, ADDRESS),
        BURST,
    ),
    Break(
        "the backend gets the host that a client wrote",
        (edited(HOST_TOLD, NOTHING),),
        frozenset({"forged-origin"}),
        (FILE, HOST_TOLD),
    ),
    Break(
        "a 429 has no Retry-After",
        (edited("- {exact: retry-after}\n", "- {exact: x-nothing}\n"),),
        frozenset({"lockout"}),
        (FILE, "- {exact: retry-after}"),
        BURST,
    ),
]


@pytest.mark.parametrize("planted", BREAKS, ids=str)
def test_is_found(planted: Break, tmp_path: Path) -> None:
    finds("envoy", Envoy, planted, tmp_path)
