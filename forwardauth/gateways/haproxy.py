"""HAProxy, asked by the Lua action of `deploy/haproxy`: five `X-Forwarded-*` headers; every answer passes as it is.

The action sets the five itself, from what HAProxy knows about the request, in place of whatever the client wrote there.
It gives the client every answer but a 200 with its status, headers and body.
"""

from forwardauth.gateways.dialect import Dialect, as_it_is
from forwardauth.gateways.forwarded import HEADERS, read_forwarded
from forwardauth.gateways.lines import Block, Names


def blocks(names: Names) -> tuple[Block, ...]:
    """Who is calling, and whose credentials stay here."""
    file = "haproxy/forwardauth.lua"
    return (
        Block(file, "at its top", _table("IDENTITY", names.identity)),
        Block(file, "at its top", _table("CREDENTIALS", names.credentials)),
    )


def _table(word: str, names: tuple[str, ...]) -> str:
    return "\n".join([f"local {word} = {{", *(f'  "{name.lower()}",' for name in names), "}"])


HAPROXY = Dialect("haproxy", "/verify/haproxy", HEADERS, read_forwarded, as_it_is, blocks=blocks)
