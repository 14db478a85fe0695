"""What every dialect is made of. Knows no gateway's name."""

from collections.abc import Callable
from dataclasses import dataclass

from forwardauth.core.model import RequestView, Subrequest
from forwardauth.core.reply import Reply
from forwardauth.gateways.lines import Block, Names

SCHEMES = frozenset({b"http", b"https", b"ws", b"wss"})


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """How one gateway asks and is answered.

    `path` is its endpoint, and with `below` all that stands behind it and a slash; `headers` are the gateway headers
    that it reads, in lower case. `read` fills a view whose fields are sorted already, and sets `unreadable` for what is
    missing, empty or unreadable. `write` turns a reply into one that the gateway carries to the client; `carries_html`
    whether a page can travel. `blocks` are the lines of the gateway's file for a configuration's header names.
    """

    name: str
    path: str
    headers: frozenset[bytes]
    read: Callable[[Subrequest, RequestView], None]
    write: Callable[[Reply], Reply]
    blocks: Callable[[Names], tuple[Block, ...]]
    carries_html: bool = True
    below: bool = False


def as_it_is(reply: Reply) -> Reply:
    """The reply of a gateway that carries every status, header and body."""
    return reply
