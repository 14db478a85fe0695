"""Caddy's forward_auth (reverseproxy/forwardauth/caddyfile.go): five `X-Forwarded-*` headers; answers pass as they are.

`X-Forwarded-Uri` is the request's target as the backend will get it, not cleaned. A non-2xx goes to the client with its
status, headers and body. On a 2xx the headers of `copy_headers` are deleted from the client's request, and set from
ours where ours are not empty.
"""

from forwardauth.gateways.dialect import Dialect, as_it_is
from forwardauth.gateways.forwarded import HEADERS, read_forwarded
from forwardauth.gateways.lines import Block, Names


def blocks(names: Names) -> tuple[Block, ...]:
    """Who is calling, and whose credentials stay here."""
    return (
        Block("caddy/forwardauth.caddy", "forward_auth", " ".join(["copy_headers", *names.identity])),
        Block("caddy/forwardauth.caddy", "forward_auth", " ".join(["copy_headers", *names.credentials])),
    )


CADDY = Dialect("caddy", "/verify/caddy", HEADERS, read_forwarded, as_it_is, blocks=blocks)
