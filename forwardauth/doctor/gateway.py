"""Which gateway answers. Knows what each writes into its answers, and nothing of its configuration."""

from forwardauth.doctor.site import Site
from forwardauth.doctor.wire import Answer
from forwardauth.gateways import GATEWAYS

_SERVERS = {"nginx": "nginx", "openresty": "nginx", "caddy": "caddy", "envoy": "envoy", "istio-envoy": "envoy"}
"""What the Server header begins with. Traefik, HAProxy and Envoy Gateway write none, and neither does the service."""


def candidates(site: Site) -> tuple[str, ...]:
    """The gateways that may have written the answers for a host that nobody serves, and to a denied request."""
    named = dict.fromkeys(filter(None, (_named(answer) for answer in (site.stranger, site.denied))))
    return tuple(named) or tuple(GATEWAYS)


def _named(answer: Answer) -> str | None:
    if answer.get("Via").lower().endswith("caddy"):
        return "caddy"
    server = answer.get("Server").lower().partition("/")[0]
    if server or not answer.headers:
        return _SERVERS.get(server)
    # Traefik writes names as Go does, Content-Type. The others write them in lower case, and Envoy alone adds a date.
    if not all(name.islower() for name, _ in answer.headers):
        return "traefik"
    return "envoy" if answer.get("Date") else "haproxy"
