"""Dialects, pure: one file per gateway, and one line here.

A dialect reads its gateway's own headers and no other, and writes what that gateway can carry.
"""

from forwardauth.gateways.caddy import CADDY
from forwardauth.gateways.dialect import Dialect
from forwardauth.gateways.envoy import ENVOY
from forwardauth.gateways.haproxy import HAPROXY
from forwardauth.gateways.nginx import NGINX
from forwardauth.gateways.traefik import TRAEFIK

GATEWAYS: dict[str, Dialect] = {
    "caddy": CADDY,
    "envoy": ENVOY,
    "haproxy": HAPROXY,
    "nginx": NGINX,
    "traefik": TRAEFIK,
}
