"""What ends a finding: the lines that a gateway's configuration should have, and those that it should not. Data alone.

Every line stands word for word in the file of `deploy/` that it names, and what must be absent stands there nowhere.
Lines that hold header names are the dialect's own (`Dialect.blocks`), as `forwardauth check --gateway` prints them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.doctor.finding import Finding
from forwardauth.gateways import GATEWAYS
from forwardauth.gateways.lines import Names

USUAL_CREDENTIALS = ("Authorization", "X-API-Key", "X-API-Token")
"""The headers of credentials that the shipped files delete, whether an authenticator reads them or not."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a gateway's configuration; `where` says what it stands in, if that is not plain.

    `absent` says that it, and what begins like it, must not be there.
    """

    file: str
    text: str
    absent: bool = False
    where: str = ""


Lines = dict[str, tuple[Line, ...]]


def _absent(file: str, *texts: str) -> tuple[Line, ...]:
    return tuple(Line(file, text, absent=True) for text in texts)


def _lines(file: str, *texts: str) -> tuple[Line, ...]:
    return tuple(Line(file, text) for text in texts)


def _together(*parts: Lines) -> Lines:
    return {gateway: tuple(line for part in parts for line in part[gateway]) for gateway in parts[0]}


_LABEL = "- traefik.http.middlewares.forwardauth.forwardauth"
_DENY = (
    r'http-request deny deny_status 503 content-type text/plain string "Authentication is unavailable.\n" '
    "hdr Cache-Control no-store unless { var(txn.forwardauth_allowed) -m bool }"
)

_ASK: Lines = {
    "traefik": (
        *_lines("dynamic.yml", "middlewares: [forwardauth]", "address: http://forwardauth:9000/verify/traefik"),
        *_lines("compose.yml", "- traefik.http.routers.llm.middlewares=forwardauth"),
    ),
    "nginx": (
        *_lines("nginx.conf", "include forwardauth-location.conf;"),
        *_lines("forwardauth-location.conf", "auth_request /_forwardauth;"),
        *_absent("nginx.conf", "satisfy any"),
    ),
    "caddy": (
        *_lines("Caddyfile", "invoke forwardauth"),
        *_lines("forwardauth.caddy", "forward_auth forwardauth:9000 {"),
    ),
    "envoy": (
        *_lines("envoy.yaml", "- name: envoy.filters.http.ext_authz", "failure_mode_allow: false"),
        *_absent("envoy.yaml", "typed_per_filter_config"),
    ),
    "haproxy": _lines("haproxy.cfg", "http-request lua.forwardauth", _DENY),
}

_ASK_ABOUT_ALL: Lines = {
    "traefik": _absent("dynamic.yml", "Method("),
    "nginx": _absent("nginx.conf", "limit_except", "if ($request_method"),
    "caddy": _absent("Caddyfile", "invoke @", "method "),
    "envoy": _absent("envoy.yaml", "filter_enabled"),
    "haproxy": _absent("haproxy.cfg", "lua.forwardauth if", "lua.forwardauth unless"),
}

_ONE_PATH: Lines = {
    "traefik": _lines(
        "traefik.yml",
        "allowEncodedSlash: false",
        "allowEncodedBackSlash: false",
        "allowEncodedNullCharacter: false",
        "allowEncodedSemicolon: false",
        "allowEncodedPercent: false",
    ),
    "nginx": _lines("forwardauth-server.conf", "proxy_set_header X-Original-URL $scheme://$host$request_uri;"),
    "caddy": _absent("Caddyfile", "invoke @", "handle_path"),
    "envoy": _lines(
        "envoy.yaml",
        "normalize_path: true",
        "merge_slashes: true",
        "path_with_escaped_slashes_action: REJECT_REQUEST",
    ),
    "haproxy": (
        *_lines("forwardauth.lua", '["x-forwarded-uri"] = txn.sf:pathq(),'),
        *_absent("haproxy.cfg", "lua.forwardauth if", "lua.forwardauth unless"),
    ),
}

_TAKE_OVER: Lines = {
    "traefik": _lines("dynamic.yml", "middlewares: [forwardauth]"),
    "nginx": _lines("nginx.conf", "include forwardauth-location.conf;"),
    "caddy": _lines("Caddyfile", "invoke forwardauth"),
    "envoy": _lines("envoy.yaml", "- name: forwardauth.claims", "- name: forwardauth.credentials"),
    "haproxy": _lines("haproxy.cfg", "http-request lua.forwardauth"),
}
"""What puts a gateway's own lines about headers in force on a path."""

_IDENTITY: Lines = _TAKE_OVER | {
    "traefik": (
        *_TAKE_OVER["traefik"],
        *_lines("dynamic.yml", "authResponseHeadersRegex: ^X-Auth-"),
        *_lines("compose.yml", f"{_LABEL}.authresponseheadersregex=^X-Auth-"),
    ),
    "envoy": _lines(
        "envoy.yaml",
        "- name: forwardauth.claims",
        "key_matcher: {safe_regex: {regex: x-auth-(user|email|groups|tenant|key|method)}}",
        "patterns: [{prefix: x-auth-}]",
    ),
}

_TRUST_NOBODY: Lines = {
    "traefik": (
        *_lines("dynamic.yml", "trustForwardHeader: false"),
        *_lines("compose.yml", f"{_LABEL}.trustforwardheader=false"),
        *_absent("traefik.yml", "forwardedHeaders:"),
    ),
    "nginx": (
        *_lines("forwardauth-server.conf", "proxy_set_header X-Forwarded-For $remote_addr;"),
        *_lines("nginx.conf", "proxy_set_header X-Forwarded-For $remote_addr;"),
        *_absent("nginx.conf", "set_real_ip_from"),
    ),
    "caddy": _absent("Caddyfile", "trusted_proxies"),
    "envoy": _lines(
        "envoy.yaml",
        "use_remote_address: true",
        "xff_num_trusted_hops: 0",
        'header: {key: X-Forwarded-For, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}',
    ),
    "haproxy": (
        *_lines("forwardauth.lua", '["x-forwarded-for"] = txn.sf:src(),', '["x-forwarded-for"] = true,'),
        *_absent("haproxy.cfg", "http-request set-src"),
    ),
}

_OWN_WORDS: Lines = {
    "traefik": (),
    "nginx": _lines(
        "forwardauth-server.conf",
        "proxy_set_header X-Original-URL $scheme://$host$request_uri;",
        "proxy_set_header X-Original-Method $request_method;",
    ),
    "caddy": _lines(
        "forwardauth.caddy",
        "request_header -X-Forwarded-Host",
        "request_header -X-Forwarded-Method",
        "request_header -X-Forwarded-Uri",
    ),
    "envoy": _lines("envoy.yaml", 'header: {key: X-Forwarded-Host, value: "%REQ(:AUTHORITY)%"}'),
    "haproxy": _lines(
        "forwardauth.lua",
        '["x-forwarded-method"] = txn.sf:method(),',
        '["x-forwarded-host"] = txn.sf:req_fhdr("host"),',
        '["x-forwarded-uri"] = txn.sf:pathq(),',
        "headers[name] = { value }",
    ),
}

_DENIALS: Lines = {
    "traefik": _absent("dynamic.yml", "errors:", "authSigninURL:"),
    "nginx": (
        *_lines("nginx.conf", "include forwardauth-server.conf;"),
        *_lines("forwardauth-location.conf", "error_page 401 403 = @forwardauth_denied;"),
        *_lines("forwardauth-server.conf", "location @forwardauth_denied {"),
        *_absent("nginx.conf", "error_page 401", "proxy_intercept_errors on"),
    ),
    "caddy": _absent("forwardauth.caddy", "handle_response"),
    "envoy": _lines("envoy.yaml", "status_on_error: {code: ServiceUnavailable}", "- {exact: content-type}"),
    "haproxy": _lines(
        "forwardauth.lua",
        "txn:done(txn:reply({ status = answer.status, headers = answer.headers, body = answer.body }))",
    ),
}

_CHALLENGES: Lines = {
    "traefik": _absent("dynamic.yml", "errors:", "customResponseHeaders:"),
    "nginx": _lines("forwardauth-location.conf", "error_page 401 403 = @forwardauth_denied;"),
    "caddy": _absent("Caddyfile", "header -Www-Authenticate"),
    "envoy": _absent("envoy.yaml", "remove: www-authenticate"),
    "haproxy": _DENIALS["haproxy"],
}

_LIMITS: Lines = {
    "traefik": _absent("dynamic.yml", "customResponseHeaders:"),
    "nginx": (
        *_lines("forwardauth-location.conf", "auth_request_set $forwardauth_retry_after $upstream_http_retry_after;"),
        *_lines("forwardauth-server.conf", "add_header Retry-After $forwardauth_retry_after always;"),
        *_lines(
            "forwardauth-server.conf", "if ($forwardauth_deny_status = 429) { return 429 $forwardauth_deny_body; }"
        ),
    ),
    "caddy": _absent("Caddyfile", "header -Retry-After"),
    "envoy": _lines("envoy.yaml", "- {exact: retry-after}"),
    "haproxy": (),
}


@dataclass(frozen=True, slots=True)
class Remedy:
    """A sentence for every gateway, and the lines of each; `named` adds those for headers of that sort."""

    advice: str
    lines: Lines
    named: str = ""


REMEDIES: dict[str, Remedy] = {
    "ask": Remedy("Nothing may be handed on before forwardauth was asked.", _ASK),
    "methods": Remedy(
        "Ask about every method; forwardauth decides which of them a route has.", _together(_ASK, _ASK_ABOUT_ALL)
    ),
    "paths": Remedy(
        "Ask about every path, open ones too: forwardauth refuses what can be read in two ways.",
        _together(_ASK, _ONE_PATH),
    ),
    "arrives": Remedy(
        "The service has to see the request as it came. `forwardauth explain` tells what it says to one.",
        {
            "traefik": _absent("dynamic.yml", "authRequestHeaders:"),
            "nginx": (
                *_lines("forwardauth-server.conf", "proxy_pass http://forwardauth/verify/nginx;"),
                *_OWN_WORDS["nginx"],
                *_lines("forwardauth-server.conf", "proxy_set_header X-Forwarded-For $remote_addr;"),
                *_absent("forwardauth-server.conf", "proxy_pass_request_headers off"),
            ),
            "caddy": (*_lines("forwardauth.caddy", "uri /verify/caddy?"), *_absent("forwardauth.caddy", "header_up -")),
            "envoy": _lines("envoy.yaml", 'patterns: [{safe_regex: {regex: ".*"}}]', "path_prefix: /verify/envoy"),
            "haproxy": _lines("forwardauth.lua", 'local URL = "http://forwardauth/verify/haproxy"'),
        },
    ),
    "query": Remedy(
        "A credential belongs into a header.",
        {
            "traefik": _absent("dynamic.yml", "Query"),
            "nginx": _absent("forwardauth-server.conf", "$arg_"),
            "caddy": (*_absent("Caddyfile", "{query."), *_absent("forwardauth.caddy", "{query.")),
            "envoy": _absent("envoy.yaml", "%QUERY_PARAM"),
            "haproxy": _absent("haproxy.cfg", "url_param("),
        },
    ),
    "around": Remedy(
        "Only the gateway may reach the backend: no published port, a network of their own, or 127.0.0.1.",
        {gateway: (Line("compose.yml", "ports:", absent=True, where="the backend"),) for gateway in _ASK},
    ),
    "listener": Remedy(
        "No router, location or port may lead to `server.listen`: it is the gateway's own.",
        {
            "traefik": _absent("dynamic.yml", "service: forwardauth", "- url: http://forwardauth:9000"),
            "nginx": (
                *_lines("forwardauth-server.conf", "internal;"),
                *_absent("nginx.conf", "proxy_pass http://forwardauth"),
            ),
            "caddy": _absent("Caddyfile", "reverse_proxy forwardauth"),
            "envoy": _absent("envoy.yaml", "route: {cluster: forwardauth"),
            "haproxy": _absent("haproxy.cfg", "use_backend forwardauth"),
        },
    ),
    "admin": Remedy(
        "No router, location or port may lead to `server.admin`: bind it to loopback.",
        {
            "traefik": _absent("dynamic.yml", "- url: http://forwardauth:9002"),
            "nginx": _absent("nginx.conf", "proxy_pass http://forwardauth:9002"),
            "caddy": _absent("Caddyfile", "reverse_proxy forwardauth:9002"),
            "envoy": _absent("envoy.yaml", "address: forwardauth, port_value: 9002"),
            "haproxy": _absent("haproxy.cfg", "forwardauth:9002"),
        },
    ),
    "identity": Remedy("What a client calls itself is deleted, and set from forwardauth's 200.", _IDENTITY, "identity"),
    "further": Remedy("A name of `identity_headers` needs a line of its own.", _TAKE_OVER, "identity"),
    "credentials": Remedy(
        "Credentials end at the gateway, unless the route says `pass_credentials`.", _TAKE_OVER, "credentials"
    ),
    "lookalikes": Remedy(
        "The service refuses such names on every path that it is asked about, if the gateway shows it every header.",
        _together(
            {
                "traefik": _lines("traefik.yml", "aliasHeadersStrategy: reject"),
                "nginx": _absent("nginx.conf", "underscores_in_headers on", "ignore_invalid_headers off"),
                "caddy": (),
                "envoy": _lines(
                    "envoy.yaml",
                    "headers_with_underscores_action: REJECT_REQUEST",
                    'patterns: [{safe_regex: {regex: ".*"}}]',
                ),
                "haproxy": _lines("forwardauth.lua", "headers[name] = { value }"),
            },
            _ASK,
        ),
    ),
    "hop": Remedy(
        "What a client lists in Connection must not be dropped after the identity was set.",
        {
            "traefik": _IDENTITY["traefik"],
            "nginx": _lines("nginx.conf", "proxy_set_header Connection $connection_upgrade;"),
            "caddy": _lines("forwardauth.caddy", "request_header Connection Upgrade"),
            "envoy": _lines("envoy.yaml", "header: {key: Connection, value: upgrade}"),
            "haproxy": _lines("forwardauth.lua", 'put(txn, "connection", websocket and "upgrade")'),
        },
    ),
    "duplicates": Remedy("The service refuses a repeated credential, if the gateway shows it every line.", _ASK),
    "denial": Remedy("A denial reaches the client as the service wrote it.", _DENIALS),
    "challenge": Remedy("WWW-Authenticate belongs to a 401, on its way through every proxy.", _CHALLENGES),
    "limit": Remedy("A 429 reaches the client with its Retry-After and its body.", _together(_DENIALS, _LIMITS)),
    "lockout": Remedy(
        "If `lockout.max_failed_attempts` is not higher than that, the gateway does not name the client's address.",
        _TRUST_NOBODY,
    ),
    "forwarded": Remedy(
        "The gateway says itself what was asked for, in place of whatever a client wrote there.",
        _together(_TRUST_NOBODY, _OWN_WORDS),
    ),
    "address": Remedy(
        "The gateway names the connection's address, and believes another one of a CDN's own networks alone.",
        _TRUST_NOBODY,
    ),
    "origin": Remedy(
        "The gateway names host and scheme itself, in place of whatever a client wrote there.",
        {
            "traefik": _absent("traefik.yml", "forwardedHeaders:"),
            "nginx": _lines(
                "nginx.conf", "proxy_set_header X-Forwarded-Host $host;", "proxy_set_header X-Forwarded-Proto $scheme;"
            ),
            "caddy": (
                *_lines("forwardauth.caddy", "request_header -X-Forwarded-Host"),
                *_absent("Caddyfile", "trusted_proxies"),
            ),
            "envoy": _lines(
                "envoy.yaml",
                "use_remote_address: true",
                'header: {key: X-Forwarded-Host, value: "%REQ(:AUTHORITY)%"}',
            ),
            "haproxy": _lines("forwardauth.lua", '["x-forwarded-host"] = true,', '["x-forwarded-proto"] = true,'),
        },
    ),
    "host": Remedy(
        "The service judges the host by which the gateway routes.",
        {
            "traefik": _TRUST_NOBODY["traefik"],
            "nginx": _lines("forwardauth-server.conf", "proxy_set_header X-Original-URL $scheme://$host$request_uri;"),
            "caddy": _lines("forwardauth.caddy", "request_header -X-Forwarded-Host"),
            "envoy": (
                *_lines("envoy.yaml", "domains: [llm.example.com]"),
                *_absent("envoy.yaml", "host_rewrite_literal"),
            ),
            "haproxy": (
                *_lines("forwardauth.lua", '["x-forwarded-host"] = txn.sf:req_fhdr("host"),'),
                *_lines("haproxy.cfg", "acl llm req.fhdr(Host),host_only -i llm.example.com"),
            ),
        },
    ),
    "sizes": Remedy(
        "Room for a credential of 32 kB, at every hop.",
        {
            "traefik": _lines("dynamic.yml", "maxResponseBodySize: 65536"),
            "nginx": (
                *_lines("nginx.conf", "large_client_header_buffers 4 64k;"),
                *_lines("forwardauth-server.conf", "proxy_buffer_size 64k;", "proxy_buffers 4 64k;"),
            ),
            "caddy": _lines("Caddyfile", "max_header_size 64KiB"),
            "envoy": _lines("envoy.yaml", "max_request_headers_kb: 60"),
            "haproxy": _lines("haproxy.cfg", "tune.bufsize 65536", "tune.maxrewrite 8192"),
        },
    ),
    "body": Remedy(
        "A question has no body and announces none.",
        {
            "traefik": _absent("dynamic.yml", "forwardBody: true", "buffering:"),
            "nginx": _lines(
                "forwardauth-server.conf", "proxy_pass_request_body off;", 'proxy_set_header Content-Length "";'
            ),
            "caddy": _lines("forwardauth.caddy", "forward_auth forwardauth:9000 {"),
            "envoy": _absent("envoy.yaml", "with_request_body"),
            "haproxy": _lines("forwardauth.lua", '"content-length",', '"transfer-encoding",', '"expect",'),
        },
    ),
    "upgrades": Remedy(
        "Of all upgrades, a WebSocket alone is handed on.",
        {
            "traefik": _ASK["traefik"],
            "nginx": _lines(
                "nginx.conf",
                "map $http_upgrade $websocket {",
                "proxy_set_header Upgrade $websocket;",
                "proxy_set_header Connection $connection_upgrade;",
            ),
            "caddy": _lines("forwardauth.caddy", "request_header @no_websocket -Upgrade"),
            "envoy": (
                *_lines("envoy.yaml", "- upgrade_type: websocket"),
                *_absent("envoy.yaml", "- upgrade_type: h2c"),
            ),
            "haproxy": _lines("forwardauth.lua", 'put(txn, "upgrade", websocket and "websocket")'),
        },
    ),
}
"""Remedies by the word that a finding has."""


def lines(finding: Finding, gateway: str) -> list[Line]:
    """The lines of one gateway that end a finding."""
    remedy = REMEDIES[finding.remedy]
    return list(dict.fromkeys([*remedy.lines[gateway], *_named(finding, gateway)]))


def _named(finding: Finding, gateway: str) -> Iterator[Line]:
    """The dialect's lines that mention one of the finding's headers, written for them and the usual ones."""
    identity: tuple[str, ...] = tuple(IDENTITY_FIELDS.values())
    credentials: tuple[str, ...] = USUAL_CREDENTIALS
    match REMEDIES[finding.remedy].named:
        case "identity":
            identity = tuple(dict.fromkeys(identity + finding.names))
        case "credentials":
            credentials = tuple(dict.fromkeys(credentials + finding.names))
        case _:
            return
    for block in GATEWAYS[gateway].blocks(Names(identity, credentials)):
        for text in map(str.strip, block.text.splitlines()):
            if any(name.lower() in text.lower().replace("_", "-") for name in finding.names):
                yield Line(block.file.removeprefix(f"{gateway}/"), text, where=block.where)
