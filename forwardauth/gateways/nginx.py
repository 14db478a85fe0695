"""nginx's auth_request (ngx_http_auth_request_module.c), and ingress-nginx: the headers that our include sets.

`X-Original-URL` is `$scheme://$host$request_uri` and is split by position, never by a URL library: `$host` is the host
by which nginx routed, and a library would find another one behind an `@`. Only 200, 401 and 403 survive, any other
status is a 500 at the client, so the true answer of a denial travels in headers of an empty 401 or 403 (a body would
also cost the kept connection), and the include gives it to the client.
"""

from forwardauth.core.model import RequestView, Subrequest
from forwardauth.core.reply import Reply
from forwardauth.gateways.dialect import SCHEMES, Dialect
from forwardauth.gateways.lines import Block, Names

# Variables of the include, behind $forwardauth_.
_INCLUDED = frozenset(
    {"user", "email", "groups", "tenant", "key", "method", "deny_status", "deny_type", "deny_body", "deny_location"}
    | {"content_type_options", "cache_control", "retry_after", "retry_after_ms", "ratelimit", "ratelimit_policy"}
    | {"should_retry"}
)

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


def blocks(names: Names) -> tuple[Block, ...]:
    """Who is calling, and whose credentials stay here."""
    file = "nginx/forwardauth-location.conf"
    return (
        Block(file, "identity", _taken_over(names.identity)),
        Block(file, "credentials", _taken_over(names.credentials)),
    )


def _taken_over(names: tuple[str, ...]) -> str:
    """Each header from our answer to the backend's request; an empty value removes it."""
    variables = {name: "$forwardauth_" + _variable(name) for name in names}
    upstream = {name: "$upstream_http_" + name.lower().replace("-", "_") for name in names}
    return "\n".join(
        [f"auth_request_set {variables[name]} {upstream[name]};" for name in names]
        + [f"proxy_set_header {name} {variables[name]};" for name in names]
    )


def _variable(name: str) -> str:
    """`user` for X-Auth-User and `remote_user` for Remote-User, never a name that the include has for another thing."""
    short = name.lower().removeprefix("x-auth-").replace("-", "_")
    return f"{short}_header" if short in _INCLUDED and not name.startswith("X-Auth-") else short


NGINX = Dialect(
    "nginx", "/verify/nginx", frozenset({_URL, _METHOD, _FOR}), read, write, carries_html=False, blocks=blocks
)
