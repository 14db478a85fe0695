"""Broken configurations of Traefik: the doctor finds each break, and names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.rig.gateways.traefik import TraefikFile
from tests.doctor.rig import BURST, Break, Edit, finds

STATIC, DYNAMIC = "traefik.yml", "dynamic.yml"

ROUTER, SERVICES = "      service: llm\n", "  services:\n"
MIDDLEWARE, MIDDLEWARES = "      middlewares: [forwardauth]\n", "  middlewares:\n    forwardauth:\n"
BODY = "        maxResponseBodySize: 65536\n"
ENTRY_POINT = "    http: &hardened\n"

HEALTH = Edit(DYNAMIC, ROUTER, f"{ROUTER}    health: {{rule: 'PathPrefix(`/health`)', priority: 1000, service: llm}}\n")
UNGUARDED = frozenset({"spoofed-identity", "credential-ends-here", "open-path-tricks", "reflecting-methods"})

BREAKS = [
    Break(
        "the router has no middleware",
        (Edit(DYNAMIC, MIDDLEWARE),),
        frozenset(
            {"no-credential", "identity-arrives", "spoofed-identity", "credential-ends-here", "reflecting-methods"}
        ),
        (DYNAMIC, "middlewares: [forwardauth]"),
    ),
    Break(
        "a second router without the middleware",
        (HEALTH,),
        UNGUARDED,
        (DYNAMIC, "middlewares: [forwardauth]"),
    ),
    Break(
        "that router, and encoded slashes",
        (HEALTH, Edit(STATIC, "allowEncodedSlash: false", "allowEncodedSlash: true")),
        UNGUARDED,
        (STATIC, "allowEncodedSlash: false"),
    ),
    Break(
        "that router, and look-alike names",
        (HEALTH, Edit(STATIC, "aliasHeadersStrategy: reject", "aliasHeadersStrategy: keep")),
        UNGUARDED | {"lookalike-names"},
        (STATIC, "aliasHeadersStrategy: reject"),
    ),
    Break(
        "identity is not set",
        (Edit(DYNAMIC, "        authResponseHeadersRegex: ^X-Auth-\n"),),
        frozenset({"identity-arrives", "spoofed-identity"}),
        (DYNAMIC, "authResponseHeadersRegex: ^X-Auth-"),
    ),
    Break(
        "the expression in the wrong case",
        (Edit(DYNAMIC, "authResponseHeadersRegex: ^X-Auth-", "authResponseHeadersRegex: ^x-auth-"),),
        frozenset({"identity-arrives", "spoofed-identity"}),
        (DYNAMIC, "authResponseHeadersRegex: ^X-Auth-"),
    ),
    Break(
        "the token is not deleted",
        (Edit(DYNAMIC, "          - X-API-Token\n"),),
        frozenset({"credential-ends-here"}),
        (DYNAMIC, "- X-API-Token"),
    ),
    Break(
        "the service does not see the token",
        (Edit(DYNAMIC, BODY, f"{BODY}        authRequestHeaders: [Accept]\n"),),
        frozenset({"right-credential"}),
        (DYNAMIC, "authRequestHeaders:"),
    ),
    Break(
        "a client's own traces are believed",
        (
            Edit(DYNAMIC, "trustForwardHeader: false", "trustForwardHeader: true"),
            Edit(STATIC, ENTRY_POINT, f"    forwardedHeaders: {{trustedIPs: [127.0.0.0/8]}}\n{ENTRY_POINT}"),
        ),
        frozenset({"forged-request", "forged-address", "forged-origin"}),
        (DYNAMIC, "trustForwardHeader: false"),
        BURST,
    ),
    Break(
        "the entry point believes everybody",
        (Edit(STATIC, ENTRY_POINT, f"    forwardedHeaders: {{insecure: true}}\n{ENTRY_POINT}"),),
        frozenset({"forged-address", "forged-origin"}),
        (STATIC, "forwardedHeaders:"),
        BURST,
    ),
    Break(
        "the service has a router",
        (
            Edit(
                DYNAMIC,
                ROUTER,
                f"{ROUTER}    verify: {{rule: 'PathPrefix(`/verify`)', priority: 1000, service: forwardauth}}\n",
            ),
            Edit(
                DYNAMIC,
                SERVICES,
                f"{SERVICES}    forwardauth: {{loadBalancer: {{servers: [{{url: 'http://SERVICE'}}]}}}}\n",
            ),
        ),
        frozenset({"decision-listener"}),
        (DYNAMIC, "service: forwardauth"),
    ),
    Break(
        "GET alone is asked about",
        (Edit(DYNAMIC, ROUTER, f"{ROUTER}    others: {{rule: '!Method(`GET`)', priority: 1000, service: llm}}\n"),),
        frozenset({"other-methods", "reflecting-methods"}),
        (DYNAMIC, "Method("),
    ),
    Break(
        "a 401 leads to a login page",
        (Edit(DYNAMIC, BODY, f"{BODY}        authSigninURL: http://login.example.com/\n"),),
        frozenset({"denial-intact"}),
        (DYNAMIC, "authSigninURL:"),
        BURST,
    ),
    Break(
        "denials are replaced by an error page",
        (
            Edit(DYNAMIC, MIDDLEWARE, "      middlewares: [pages, forwardauth]\n"),
            Edit(
                DYNAMIC,
                MIDDLEWARES,
                "  middlewares:\n"
                "    pages: {errors: {status: ['400-499'], service: pages, query: /health, "
                "statusRewrites: {'400-499': 404}}}\n"
                "    forwardauth:\n",
            ),
            Edit(
                DYNAMIC, SERVICES, f"{SERVICES}    pages: {{loadBalancer: {{servers: [{{url: 'http://SERVICE'}}]}}}}\n"
            ),
        ),
        frozenset({"repeated-credential", "denial-intact"}),
        (DYNAMIC, "errors:"),
        BURST,
    ),
    Break(
        "denials lose their headers",
        (
            Edit(DYNAMIC, MIDDLEWARE, "      middlewares: [cut, forwardauth]\n"),
            Edit(
                DYNAMIC,
                MIDDLEWARES,
                "  middlewares:\n"
                "    cut: {headers: {customResponseHeaders: {WWW-Authenticate: '', Retry-After: ''}}}\n"
                "    forwardauth:\n",
            ),
        ),
        frozenset({"denial-intact", "lockout"}),
        (DYNAMIC, "customResponseHeaders:"),
        BURST,
    ),
]


@pytest.mark.parametrize("planted", BREAKS, ids=str)
def test_is_found(planted: Break, tmp_path: Path) -> None:
    finds("traefik", TraefikFile, planted, tmp_path)
