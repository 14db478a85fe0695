"""Configurations that several test modules share, and the credentials in them."""

from __future__ import annotations

import base64

from .service import Setup

TOKEN = "your_secure_token_here"
PROXY_KEY = "your-secret-proxy-key"
USER, PASSWORD = "admin", "traefik_password"
# apr1, as `htpasswd -nbm admin traefik_password` writes it
HTPASSWD = "admin:$apr1$vgsco4o1$JSuD55P0q7yW0tnPQGsyn1"

# Both seeds in their shortest form: environment alone.
HEADER_TOKEN = Setup(env=(("FORWARDAUTH_TOKEN", TOKEN), ("FORWARDAUTH_HEADER", "X-API-Token")))
BEARER_TOKEN = Setup(env=(("FORWARDAUTH_TOKEN", PROXY_KEY),))


def basic(user: str = USER, password: str = PASSWORD) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(key: str = PROXY_KEY) -> tuple[str, str]:
    return "Authorization", f"Bearer {key}"


def token(value: str = TOKEN) -> tuple[str, str]:
    return "X-API-Token", value
