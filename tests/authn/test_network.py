"""Where a request comes from, and the traces of a further hop that make it come from nowhere."""

import pytest

from forwardauth.core.model import Identity, Now
from forwardauth.stores.facts import FactCache
from tests.building import Bench, client, fields, mistakes, snapshot, word

OFFICE = snapshot("""
authenticators: {office: {network: {allow: [10.8.0.0/16, loopback, "2001:db8:7::/48"]}}}
routes: [{path: /*, require: office}]
""").authenticators["office"]


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.8.3.4", True),
        ("::ffff:10.8.3.4", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("2001:db8:7:ffff::1", True),
        ("10.9.0.1", False),
        ("2001:db8:8::1", False),
        ("192.0.2.1", False),
    ],
)
def test_an_address_is_inside_or_not_in_both_families(address: str, inside: bool) -> None:
    for _ in range(2):
        verdict = OFFICE.judge(fields(), client(address), FactCache(lambda: 0.0), Now(0.0, 0.0))
        assert isinstance(verdict, Identity) is inside


def test_who_is_let_in_by_address_is_nobody_and_ambient() -> None:
    identity = OFFICE.judge(fields(), client("10.8.0.1"), FactCache(lambda: 0.0), Now(0.0, 0.0))
    assert isinstance(identity, Identity)
    assert (identity.user, identity.key, identity.tenant, identity.credential) == ("", "", "", "")
    assert identity.ambient
    assert identity.authenticators == ("office",)


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([("Forwarded", "for=203.0.113.9")], "10.8.0.1"),
        ([("CF-Connecting-IP", "203.0.113.9")], "10.8.0.1"),
        ([("True-Client-IP", "203.0.113.9")], "10.8.0.1"),
        ([("forwarded", "")], "10.8.0.1"),
        ([], "203.0.113.9, 10.8.0.1"),
        ([], "unknown, 10.8.0.1"),
    ],
    ids=["Forwarded", "Cloudflare", "Akamai", "an empty trace", "one more entry", "one more entry that is none"],
)
def test_a_trace_of_a_further_hop_is_never_the_neighbour(headers: list[tuple[str, str]], address: str) -> None:
    """Attack: a tunnel or CDN on the same host ends at a local address (THREATS 56)."""
    bench = Bench("""
        authenticators: {office: {network: {allow: [10.8.0.0/16]}}}
        routes: [{path: /*, require: office}]
    """)
    assert word(bench.ask("GET", "https://a.example/", client="10.8.0.1")) == "allow"
    assert word(bench.ask("GET", "https://a.example/", *headers, client=address)) == "network_not_allowed"


def test_a_network_is_never_a_failed_attempt() -> None:
    bench = Bench("""
        authenticators: {office: {network: {allow: [10.8.0.0/16]}}}
        routes: [{path: /*, require: office}]
    """)
    assert {word(bench.ask()) for _ in range(9)} == {"network_not_allowed"}


@pytest.mark.parametrize(
    ("allow", "path"),
    [("[]", "allow"), ("[localhost]", "allow[0]"), ("[10.0.0.0/8, 10.0.0.0/99]", "allow[1]")],
)
def test_a_mistake_has_its_path(allow: str, path: str) -> None:
    found = mistakes(f"authenticators: {{o: {{network: {{allow: {allow}}}}}}}\nroutes: [{{path: /*, require: o}}]")
    assert list(found) == [f"authenticators.o.network.{path}"]
