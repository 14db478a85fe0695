"""A reply as bytes of HTTP/1.1 (RFC 9112). Knows no request but its method and whether the connection goes on.

There is no Date: every gateway sets its own, and an auth server's answer is read by nobody else.
"""

from http import HTTPStatus

from forwardauth.core.reply import Reply

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


def render(reply: Reply, *, close: bool = False, head: bool = False) -> bytes:
    """The whole message. `head` leaves the body out, `close` announces that the connection ends."""
    lines = [_STATUS_LINES[reply.status], f"Content-Length: {len(reply.body)}\r\n"]
    if reply.content_type:
        lines.append(f"Content-Type: {reply.content_type}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in reply.headers]
    if close:
        lines.append("Connection: close\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1") + (b"" if head else reply.body)


def kept(reply: Reply) -> bytes:
    """The message on a connection that goes on, rendered once for each reply."""
    wire = reply.wire
    if wire is None:
        wire = reply.wire = render(reply)
    return wire
