"""Dialects, pure: one file per gateway, and one line here.

A dialect reads its gateway's own headers and no other, and writes what that gateway can carry.
"""

from forwardauth.gateways.dialect import Dialect
from forwardauth.gateways.nginx import NGINX
from forwardauth.gateways.traefik import TRAEFIK

GATEWAYS: dict[str, Dialect] = {
    "nginx": NGINX,
    "traefik": TRAEFIK,
}
