"""Broken configurations of Caddy: the doctor finds each break, and names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.rig.gateways.caddy import Caddy
from tests.doctor.rig import BURST, Break, Edit, finds

SITE, ROUTE = "Caddyfile", "forwardauth.caddy"

INVOKE, URI, SIZE = "\tinvoke forwardauth\n", "uri /verify/caddy?\n", "max_header_size 64KiB\n"
IDENTITY = "copy_headers X-Auth-User X-Auth-Email X-Auth-Groups X-Auth-Tenant X-Auth-Key X-Auth-Method"
CREDENTIALS = "copy_headers Authorization X-API-Key X-API-Token"
UNGUARDED = frozenset(
    {"spoofed-identity", "lookalike-names", "credential-ends-here", "reflecting-methods", "other-upgrades"}
)


def besides(path: str, address: str) -> Edit:
    """A part of the site that asks nobody."""
    asked = f"handle {{\n{INVOKE}\nreverse_proxy BACKEND\n}}\n"
    return Edit(SITE, INVOKE, f"handle {path} {{\nreverse_proxy {address}\n}}\n{asked}")


BREAKS = [
    Break(
        "the site asks nobody",
        (Edit(SITE, INVOKE),),
        UNGUARDED | {"no-credential", "identity-arrives"},
        (SITE, "invoke forwardauth"),
    ),
    Break(
        "a handle for the open path",
        (besides("/health*", "BACKEND"),),
        UNGUARDED | {"open-path-tricks"},
        (SITE, "invoke forwardauth"),
    ),
    Break(
        "invoke has a matcher for a path",
        (Edit(SITE, INVOKE, "\tinvoke /v1/* forwardauth\n"),),
        UNGUARDED,
        (SITE, "invoke forwardauth"),
    ),
    Break(
        "invoke has a matcher for a method",
        (Edit(SITE, INVOKE, "\t@read method GET\n\tinvoke @read forwardauth\n"),),
        frozenset({"other-methods", "reflecting-methods"}),
        (SITE, "invoke @"),
    ),
    Break(
        "identity is not set",
        (Edit(ROUTE, IDENTITY),),
        frozenset({"identity-arrives", "spoofed-identity"}),
        (ROUTE, IDENTITY),
    ),
    Break(
        "one header of identity is not set",
        (Edit(ROUTE, "X-Auth-Groups "),),
        frozenset({"spoofed-identity"}),
        (ROUTE, IDENTITY),
    ),
    Break(
        "credentials are not deleted",
        (Edit(ROUTE, CREDENTIALS),),
        frozenset({"credential-ends-here"}),
        (ROUTE, CREDENTIALS),
    ),
    Break(
        "everybody is a proxy that may name the client",
        (Edit(SITE, SIZE, f"{SIZE}trusted_proxies static 0.0.0.0/0\n"),),
        frozenset({"forged-address", "forged-origin"}),
        (SITE, "trusted_proxies"),
        BURST,
    ),
    Break(
        "that, and a client names the host",
        (
            Edit(SITE, SIZE, f"{SIZE}trusted_proxies static private_ranges\n"),
            Edit(ROUTE, "request_header -X-Forwarded-Host"),
        ),
        frozenset({"forged-address", "forged-origin"}),
        (ROUTE, "request_header -X-Forwarded-Host"),
        BURST,
    ),
    Break(
        "Connection names headers away",
        (Edit(ROUTE, "request_header Connection Upgrade"),),
        frozenset({"hop-by-hop"}),
        (ROUTE, "request_header Connection Upgrade"),
    ),
    Break(
        "every upgrade is handed on",
        (Edit(ROUTE, "request_header @no_websocket -Upgrade"),),
        frozenset({"other-upgrades"}),
        (ROUTE, "request_header @no_websocket -Upgrade"),
    ),
    Break(
        "denials lead to a login page",
        (
            Edit(
                ROUTE,
                URI,
                f"{URI}@denied status 4xx\nhandle_response @denied {{\nredir http://login.example.com/\n}}\n",
            ),
        ),
        frozenset({"repeated-credential", "denial-intact"}),
        (ROUTE, "handle_response"),
        BURST,
    ),
    Break(
        "denials are server errors",
        (Edit(ROUTE, URI, f"{URI}@denied status 4xx\nhandle_response @denied {{\nrespond 500\n}}\n"),),
        frozenset({"repeated-credential", "denial-intact"}),
        (ROUTE, "handle_response"),
        BURST,
    ),
    Break(
        "denials lose their headers",
        (Edit(SITE, INVOKE, f"\theader -Www-Authenticate\n\theader -Retry-After\n{INVOKE}"),),
        frozenset({"denial-intact", "lockout"}),
        (SITE, "header -Www-Authenticate"),
        BURST,
    ),
    Break(
        "the service does not see the token",
        (Edit(ROUTE, URI, f"{URI}header_up -X-API-Token\n"),),
        frozenset({"right-credential"}),
        (ROUTE, "header_up -"),
    ),
    Break(
        "a key in the query is taken for a header",
        (Edit(SITE, INVOKE, "\t@key query token=*\n\trequest_header @key X-API-Token {query.token}\n" + INVOKE),),
        frozenset({"query-credential"}),
        (SITE, "{query."),
    ),
    Break(
        "the service has a handle",
        (besides("/verify/*", "SERVICE"),),
        frozenset({"decision-listener"}),
        (SITE, "reverse_proxy forwardauth"),
    ),
]


@pytest.mark.parametrize("planted", BREAKS, ids=str)
def test_is_found(planted: Break, tmp_path: Path) -> None:
    finds("caddy", Caddy, planted, tmp_path)
