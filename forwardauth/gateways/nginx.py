"""nginx's auth_request (ngx_http_auth_request_module.c), and ingress-nginx: the headers that our include sets.

`X-Original-URL` is `$scheme://$host$request_uri` and is split by position, never by a URL library: `$host` is the host
by which nginx routed, and a library would find another one behind an `@`. Only 200, 401 and 403 survive, any other
status is a 500 at the client, so the true answer of a denial travels in headers of an empty 401 or 403 (a body would
also cost the kept connection), and the include gives it to the client.
"""

from forwardauth.core.model import RequestView, Subrequest
from forwardauth.core.reply import Reply
from forwardauth.gateways.dialect import SCHEMES, Dialect

_URL, _METHOD, _FOR = b"x-original-url", b"x-original-method", b"x-forwarded-for"


def read(subrequest: Subrequest, view: RequestView) -> None:
    """The request from `X-Original-URL`, `X-Original-Method` and `X-Forwarded-For`."""
    fields = view.fields
    try:
        url = fields[_URL]
        view.method = fields[_METHOD]
        view.forwarded_for = fields[_FOR]
    except KeyError as missing:
        view.unreadable = f"{missing.args[0].decode()} is missing"
        return
    scheme, separator, rest = url.partition(b"://")
    slash = rest.find(b"/")
    if scheme not in SCHEMES or not separator or slash < 1:
        view.unreadable = "x-original-url is no scheme://host/path"
    elif not (view.method and view.forwarded_for):
        view.unreadable = "a gateway header is empty"
    else:
        view.scheme, view.host, view.target = scheme, rest[:slash], rest[slash:]


def write(reply: Reply) -> Reply:
    """A 200 as it is; a denial as an empty 401 or 403 whose headers hold what the client is to get."""
    if reply.status == 200:
        return reply
    location = next((value for name, value in reply.headers if name == "Location"), "")
    carried = (
        ("X-Deny-Status", str(reply.status)),
        ("X-Deny-Type", reply.content_type),
        ("X-Deny-Body", reply.body.decode("ascii")),
        ("X-Deny-Location", location),
    )
    kept = tuple(header for header in reply.headers if header[0] != "Location")
    return Reply(401 if reply.status == 401 else 403, kept + carried)


NGINX = Dialect("nginx", "/verify/nginx", frozenset({_URL, _METHOD, _FOR}), read, write, carries_html=False)
