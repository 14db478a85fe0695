"""Broken configurations of nginx: the doctor finds each break, and names the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.rig.client import HOST
from tests.deploy.rig.gateways.nginx import Nginx
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import TOKEN
from tests.doctor.rig import BURST, Break, Edit, finds

CONF, LOCATION, SERVER = "nginx.conf", "forwardauth-location.conf", "forwardauth-server.conf"
OPEN_HOST = "public.example.com"

HOSTS = Setup(
    config=f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: open, host: {OPEN_HOST}, path: /*, public: true}}
  - {{name: closed, host: {HOST}, path: /*, require: ci}}
"""
)

IDENTITY = ("User", "Email", "Groups", "Tenant", "Key", "Method")
BEFORE = "        location / {"
UNGUARDED = frozenset(
    {"spoofed-identity", "credential-ends-here", "open-path-tricks", "forged-address", "forged-origin"}
)

BREAKS = [
    Break(
        "the location asks nobody",
        (Edit(LOCATION, "auth_request /_forwardauth;"),),
        frozenset({"no-credential", "identity-arrives"}),
        (LOCATION, "auth_request /_forwardauth;"),
    ),
    Break(
        "an address of anybody satisfies",
        (
            Edit(
                CONF, "include forwardauth-location.conf;", "include forwardauth-location.conf; satisfy any; allow all;"
            ),
        ),
        frozenset({"no-credential", "identity-arrives"}),
        (CONF, "satisfy any"),
    ),
    Break(
        "identity is not set",
        tuple(Edit(LOCATION, f"proxy_set_header X-Auth-{each} $forwardauth_{each.lower()};") for each in IDENTITY),
        frozenset({"identity-arrives", "spoofed-identity"}),
        (LOCATION, "proxy_set_header X-Auth-User $forwardauth_user;"),
    ),
    Break(
        "one header of identity is not set",
        (Edit(LOCATION, "proxy_set_header X-Auth-Groups $forwardauth_groups;"),),
        frozenset({"spoofed-identity"}),
        (LOCATION, "proxy_set_header X-Auth-Groups $forwardauth_groups;"),
    ),
    Break(
        "the token is not deleted",
        (Edit(LOCATION, "proxy_set_header X-API-Token $forwardauth_x_api_token;"),),
        frozenset({"credential-ends-here"}),
        (LOCATION, "proxy_set_header X-API-Token $forwardauth_x_api_token;"),
    ),
    Break(
        "a key that nobody uses here is not deleted",
        (Edit(LOCATION, "proxy_set_header Authorization $forwardauth_authorization;"),),
        frozenset({"credential-ends-here"}),
        (LOCATION, "proxy_set_header Authorization $forwardauth_authorization;"),
    ),
    Break(
        "denials are nginx's own pages",
        (Edit(LOCATION, "error_page 401 403 = @forwardauth_denied;"),),
        frozenset({"repeated-credential", "denial-intact", "lockout"}),
        (LOCATION, "error_page 401 403 = @forwardauth_denied;"),
        BURST,
    ),
    Break(
        "denials lead to a login page",
        (Edit(LOCATION, "401 403 = @forwardauth_denied;", "401 403 =302 http://login.example.com/;"),),
        frozenset({"repeated-credential", "denial-intact"}),
        (LOCATION, "error_page 401 403 = @forwardauth_denied;"),
        BURST,
    ),
    Break(
        "a 429 is a 403",
        (Edit(SERVER, "if ($forwardauth_deny_status = 429) { return 429 $forwardauth_deny_body; }"),),
        frozenset({"lockout"}),
        (SERVER, "if ($forwardauth_deny_status = 429) { return 429 $forwardauth_deny_body; }"),
        BURST,
    ),
    Break(
        "a 429 has no Retry-After",
        (Edit(SERVER, "add_header Retry-After $forwardauth_retry_after always;"),),
        frozenset({"lockout"}),
        (SERVER, "add_header Retry-After $forwardauth_retry_after always;"),
        BURST,
    ),
    Break(
        "a second location without the include",
        (Edit(CONF, BEFORE, f"location /health {{ proxy_pass http://llm; }}\n{BEFORE}"),),
        UNGUARDED,
        (CONF, "include forwardauth-location.conf;"),
    ),
    Break(
        "that location with underscores and dots in names",
        (
            Edit(CONF, BEFORE, f"location /health {{ proxy_pass http://llm; }}\n{BEFORE}"),
            Edit(CONF, "server_tokens off;", "underscores_in_headers on; ignore_invalid_headers off;"),
        ),
        UNGUARDED | {"lookalike-names"},
        (CONF, "underscores_in_headers on"),
    ),
    Break(
        "every upgrade is handed on",
        (
            Edit(CONF, "proxy_set_header Upgrade $websocket;", "proxy_set_header Upgrade $http_upgrade;"),
            Edit(CONF, "proxy_set_header Connection $connection_upgrade;", "proxy_set_header Connection upgrade;"),
        ),
        frozenset({"other-upgrades"}),
        (CONF, "proxy_set_header Upgrade $websocket;"),
    ),
    Break(
        "everybody is a proxy that may name the client",
        (Edit(CONF, "server_tokens off;", "set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For;"),),
        frozenset({"forged-address", "lockout"}),
        (CONF, "set_real_ip_from"),
        BURST,
    ),
    Break(
        "the backend gets the addresses that a client wrote",
        (Edit(CONF, "X-Forwarded-For $remote_addr;", "X-Forwarded-For $proxy_add_x_forwarded_for;"),),
        frozenset({"forged-address"}),
        (CONF, "proxy_set_header X-Forwarded-For $remote_addr;"),
        BURST,
    ),
    Break(
        "the backend gets the host that a client wrote",
        (Edit(CONF, "proxy_set_header X-Forwarded-Host $host;"),),
        frozenset({"forged-origin"}),
        (CONF, "proxy_set_header X-Forwarded-Host $host;"),
    ),
    Break(
        "the client says what was asked for",
        (Edit(SERVER, "proxy_set_header X-Original-URL $scheme://$host$request_uri;"),),
        frozenset({"right-credential", "denial-intact", "forged-request"}),
        (SERVER, "proxy_set_header X-Original-URL $scheme://$host$request_uri;"),
    ),
    Break(
        "the service judges what stands in Host",
        (Edit(SERVER, "$scheme://$host$request_uri", "$scheme://$http_host$request_uri"),),
        frozenset({"host-confusion", "judged-host"}),
        (SERVER, "proxy_set_header X-Original-URL $scheme://$host$request_uri;"),
        ("--open", f"http://{OPEN_HOST}/x"),
        HOSTS,
        (HOST, OPEN_HOST),
    ),
    Break(
        "the same, and no open host is known",
        (Edit(SERVER, "$scheme://$host$request_uri", "$scheme://$http_host$request_uri"),),
        frozenset({"judged-host"}),
        (SERVER, "proxy_set_header X-Original-URL $scheme://$host$request_uri;"),
        (),
        HOSTS,
        (HOST, OPEN_HOST),
    ),
    Break(
        "the question is a location for everybody",
        (Edit(SERVER, "    internal;\n"),),
        frozenset({"decision-listener"}),
        (SERVER, "internal;"),
    ),
    Break(
        "the service has a location",
        (Edit(CONF, BEFORE, f"location /verify/ {{ proxy_pass http://forwardauth; }}\n{BEFORE}"),),
        frozenset({"decision-listener"}),
        (CONF, "proxy_pass http://forwardauth"),
    ),
    Break(
        "OPTIONS is answered without a question",
        (Edit(CONF, BEFORE, f"{BEFORE} if ($request_method = OPTIONS) {{ return 204; }}"),),
        frozenset({"other-methods"}),
        (CONF, "if ($request_method"),
    ),
    Break(
        "a key in the query is taken for a header",
        (
            Edit(CONF, BEFORE, f"{BEFORE} set $key $http_x_api_token; if ($arg_token) {{ set $key $arg_token; }}"),
            Edit(
                SERVER, "proxy_set_header Connection", "proxy_set_header X-API-Token $key; proxy_set_header Connection"
            ),
        ),
        frozenset({"query-credential", "repeated-credential"}),
        (SERVER, "$arg_"),
    ),
]


@pytest.mark.parametrize("planted", BREAKS, ids=str)
def test_is_found(planted: Break, tmp_path: Path) -> None:
    finds("nginx", Nginx, planted, tmp_path)
