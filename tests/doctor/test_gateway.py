"""Whose lines are printed, where nobody said which gateway it is."""

from __future__ import annotations

import pytest

from forwardauth.doctor.gateway import candidates
from forwardauth.doctor.site import Instructions, Site
from forwardauth.doctor.wire import Answer, Headers, Place
from forwardauth.gateways import GATEWAYS

DATE = ("Date", "x")


def guessed(stranger: Headers, denied: Headers) -> tuple[str, ...]:
    site = Site(Instructions(Place("h", 80), "h", ("/",)))
    site.stranger, site.denied = Answer(404, stranger), Answer(401, denied)
    return candidates(site)


@pytest.mark.parametrize(
    ("headers", "gateways"),
    [
        ((("Server", "nginx/1.22.1"), DATE), ("nginx",)),
        ((("Server", "openresty"), DATE), ("nginx",)),
        ((("server", "envoy"),), ("envoy",)),
        ((("server", "istio-envoy"),), ("envoy",)),
        ((("Server", "Caddy"), DATE), ("caddy",)),
        ((("Via", "1.1 Caddy"), DATE), ("caddy",)),
        ((("Content-Type", "text/plain"), DATE), ("traefik",)),
        ((("content-type", "text/plain"),), ("haproxy",)),
        ((("content-length", "0"), ("date", "x")), ("envoy",)),
        ((("Server", "cloudflare"), DATE), tuple(GATEWAYS)),
        ((), tuple(GATEWAYS)),
    ],
)
def test_a_gateway_is_known_by_its_answers(headers: Headers, gateways: tuple[str, ...]) -> None:
    assert guessed(headers, headers) == gateways


def test_a_backends_own_name_hides_no_gateway() -> None:
    """Where a path is open, the answer is the backend's; the one for a host that nobody serves is the gateway's."""
    assert guessed((("Content-Type", "text/plain"), DATE), (("Server", "uvicorn"), DATE)) == ("traefik",)


def test_two_in_a_row_are_both_named() -> None:
    assert guessed((("Server", "nginx"),), (("Via", "1.1 Caddy"), DATE)) == ("nginx", "caddy")
