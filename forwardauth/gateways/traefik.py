"""Traefik's ForwardAuth (pkg/middlewares/auth/forward.go): five `X-Forwarded-*` headers; every answer passes as it is.

A non-2xx goes to the client with its status, headers and body. On a 2xx the headers that `authResponseHeaders` lists
are deleted from the client's request and set from ours, so what our 200 does not carry is gone.
"""

from forwardauth.gateways.dialect import Dialect, as_it_is
from forwardauth.gateways.forwarded import HEADERS, read_forwarded
from forwardauth.gateways.lines import Block, Names

_IDENTITY = "^X-Auth-"


def blocks(names: Names) -> tuple[Block, ...]:
    """What is deleted and set: the `X-Auth-` headers by an expression, whatever else there is by its name."""
    listed = [*names.credentials, *(name for name in names.identity if not name.startswith("X-Auth-"))]
    label = "- traefik.http.middlewares.forwardauth.forwardauth.authresponseheaders"
    return (
        Block("traefik/dynamic.yml", "forwardAuth", f"authResponseHeadersRegex: {_IDENTITY}"),
        Block("traefik/dynamic.yml", "forwardAuth", "\n  - ".join(["authResponseHeaders:", *listed])),
        Block("traefik/compose.yml", "labels", f"{label}regex={_IDENTITY}"),
        Block("traefik/compose.yml", "labels", f"{label}={','.join(listed)}"),
    )


TRAEFIK = Dialect("traefik", "/verify/traefik", HEADERS, read_forwarded, as_it_is, blocks=blocks)
