"""The gateways: each starts a real program with the shipped files. One file each, one line here."""

from .caddy import Caddy
from .coolify import Coolify
from .envoy import Envoy
from .gateway import Gateway as Gateway
from .haproxy import Haproxy
from .nginx import Nginx
from .traefik import TraefikFile, TraefikLabels

GATEWAYS: dict[str, type[Gateway]] = {
    gateway.name: gateway for gateway in (TraefikFile, TraefikLabels, Nginx, Envoy, Caddy, Haproxy, Coolify)
}

# Those that leave every decision to the service; Coolify's has a password of its own before it.
PLAIN = [name for name, gateway in GATEWAYS.items() if not gateway.asks_password]
