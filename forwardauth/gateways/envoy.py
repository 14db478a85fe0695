"""Envoy's ext_authz over HTTP (source/extensions/filters/common/ext_authz/ext_authz_http_impl.cc): the request itself.

Envoy asks with the client's own request, without its body, behind our prefix: the request line has method and target,
`Host` the name that Envoy routed by, and `X-Forwarded-For` and `-Proto` are Envoy's own. Any answer below 500 but 200
goes to the client with its status, headers and body. A 5xx is no answer to Envoy: it says `status_on_error` instead,
so of our 503 only the status arrives.
"""

from forwardauth.core.model import RequestView, Subrequest
from forwardauth.gateways.dialect import SCHEMES, Dialect, as_it_is
from forwardauth.gateways.lines import Block, Names

_PATH = "/verify/envoy"
_PREFIX = _PATH.encode()
_HOST, _PROTO, _FOR = b"host", b"x-forwarded-proto", b"x-forwarded-for"


def read(subrequest: Subrequest, view: RequestView) -> None:
    """The request from its own line behind the prefix, `Host`, `X-Forwarded-Proto` and `X-Forwarded-For`."""
    fields = view.fields
    try:
        view.host = fields[_HOST]
        view.scheme = fields[_PROTO]
        view.forwarded_for = fields[_FOR]
    except KeyError as missing:
        view.unreadable = f"{missing.args[0].decode()} is missing"
        return
    if not subrequest.target.startswith(_PREFIX + b"/"):
        view.unreadable = "the target does not begin with the prefix"
    elif view.scheme not in SCHEMES:
        view.unreadable = "x-forwarded-proto is no scheme"
    elif not (subrequest.method and view.host and view.forwarded_for):
        view.unreadable = "the method, host or a gateway header is empty"
    else:
        view.method = subrequest.method
        view.target = subrequest.target[len(_PREFIX) :]


def blocks(names: Names) -> tuple[Block, ...]:
    """Who is calling, and whose credentials stay here: what a 200 carries waits in metadata until they are gone."""
    file = "envoy/envoy.yaml"
    identity = ["{prefix: x-auth-}"]
    identity += [_exactly(name) for name in names.identity if not name.startswith("X-Auth-")]
    credentials = [_exactly(name) for name in names.credentials]
    return (
        Block(file, "allowed_upstream_headers", f"patterns: [{', '.join(identity)}]"),
        Block(file, "dynamic_metadata_from_headers", "\n  - ".join(["patterns:", *credentials])),
        Block(file, "forwardauth.credentials", "\n".join(["request_mutations:", *map(_replaced, names.credentials)])),
    )


def _exactly(name: str) -> str:
    return f"{{exact: {name.lower()}}}"


def _replaced(name: str) -> str:
    """The client's header deleted, and the one from the metadata set: an empty value sets nothing."""
    value = f"%DYNAMIC_METADATA(envoy.filters.http.ext_authz:{name.lower()})%"
    lines = [f"- remove: {name.lower()}", "- append:", "    header:", f"      key: {name}", f'      value: "{value}"']
    return "\n".join("  " + line for line in lines)


ENVOY = Dialect("envoy", _PATH, frozenset({_PROTO, _FOR}), read, as_it_is, below=True, blocks=blocks)
