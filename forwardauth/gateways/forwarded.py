"""The `X-Forwarded-*` family, which several gateways set. Knows no gateway's name."""

from forwardauth.core.model import RequestView, Subrequest
from forwardauth.gateways.dialect import SCHEMES

METHOD, PROTO, HOST, URI, FOR = (
    b"x-forwarded-method",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-uri",
    b"x-forwarded-for",
)
HEADERS = frozenset({METHOD, PROTO, HOST, URI, FOR})


def read_forwarded(subrequest: Subrequest, view: RequestView) -> None:
    """The request from its five forwarded headers; every one must be there."""
    fields = view.fields
    try:
        view.method = fields[METHOD]
        view.scheme = fields[PROTO]
        view.host = fields[HOST]
        view.target = fields[URI]
        view.forwarded_for = fields[FOR]
    except KeyError as missing:
        view.unreadable = f"{missing.args[0].decode()} is missing"
        return
    if view.scheme not in SCHEMES:
        view.unreadable = "x-forwarded-proto is no scheme"
    elif not (view.method and view.host and view.target and view.forwarded_for):
        view.unreadable = "an x-forwarded header is empty"
