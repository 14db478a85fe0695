"""Metrics: counted by decision, with labels out of closed lists."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from forwardauth.app import App
from forwardauth.config.load import Overrides
from forwardauth.core.decide import Decision
from forwardauth.core.model import Identity
from forwardauth.core.reasons import DENIALS, FAULT, REASONS
from forwardauth.telemetry.metrics import METRICS, TENANTS, Metrics
from tests.building import SHA_OF_PASSWORD, Bench, basic

CONFIGURATION = f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], rate: 1/h, tokens: [{{name: ci, value: good}}]}}}}
  staff: {{basic: {{users: ["bob:{SHA_OF_PASSWORD}"]}}}}
routes:
  - {{name: chat, path: /chat, require: {{all: [staff, ci]}}}}
  - {{path: /v1/*, require: ci}}
audit: {{path: "off"}}
"""


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def counted(*decisions: tuple[Decision, float]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    metrics = Metrics("1.2.3")
    for decision, seconds in decisions:
        metrics.count(metrics.counter(decision), seconds)
    return samples(metrics.render())


def of(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def decisions(route: str, decision: str, reason: str, authenticator: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return of("forwardauth_decisions_total", route=route, decision=decision, reason=reason, authenticator=authenticator)


def test_a_decision_is_counted_by_route_reason_and_authenticator() -> None:
    bench = Bench(CONFIGURATION)
    good = ("X-API-Token", "good")
    asked = [
        bench.ask("GET", "https://a.example/chat", basic("bob", "password"), good),
        bench.ask("GET", "https://a.example/v1/x"),
        bench.ask("GET", "https://a.example/none"),
        bench.ask("GET", "https://a.example/v1/x", good),
        bench.ask("GET", "https://a.example/v1/x", good),
        Decision("authenticators", DENIALS[FAULT]),
    ]
    found = counted(*((decision, 0.001) for decision in asked))
    assert found[decisions("chat", "allow", "-", "staff+ci")] == 1
    assert found[decisions("/v1/*", "deny", "missing_credential", "-")] == 1
    assert found[decisions("-", "deny", "no_route", "-")] == 1
    assert found[decisions("/v1/*", "deny", "rate_limited", "ci")] == 2
    assert found[decisions("-", "fault", "fault", "-")] == 1
    assert found[of("forwardauth_rate_limited_total", route="/v1/*")] == 2


@given(st.lists(st.text("/abc.%\\é", max_size=8), max_size=20), st.lists(st.text("ABGET", max_size=5), max_size=5))
def test_no_label_ever_comes_from_a_request(paths: list[str], methods: list[str]) -> None:
    """Attack: a new series for every path, host, method or key, until the monitoring falls over."""
    bench = Bench(CONFIGURATION)
    asked = [
        bench.ask(method, f"https://{'x' * len(path)}.example/{path}", ("X-API-Token", path.encode().hex()))
        for path in paths
        for method in methods
    ]
    for name, labels in counted(*((decision, 0.0) for decision in asked)):
        if name == "forwardauth_decisions_total":
            values = dict(labels)
            assert values["route"] in ("chat", "/v1/*", "-")
            assert values["decision"] in ("allow", "deny", "fault")
            assert values["reason"] in ("-", *(reason.word for reason in REASONS))
            assert values["authenticator"] in ("-", "ci", "staff", "staff+ci")


@given(st.lists(st.floats(0, 100), max_size=50))
def test_the_histogram_adds_up(seconds: list[float]) -> None:
    found = counted(*((Decision("route", DENIALS[FAULT]), one) for one in seconds))
    buckets = {dict(labels)["le"]: value for (name, labels), value in found.items() if name.endswith("seconds_bucket")}
    for upper, value in buckets.items():
        assert value == sum(one <= float(upper) for one in seconds)
    assert buckets["+Inf"] == found[of("forwardauth_decision_seconds_count")] == len(seconds)
    assert found[of("forwardauth_decision_seconds_sum")] == pytest.approx(sum(seconds))


def test_readings_of_the_configuration_are_there_from_the_start() -> None:
    metrics = Metrics("1.2.3")
    metrics.reloaded("failure")
    found = samples(metrics.render())
    assert found[of("forwardauth_config_reloads_total", result="success")] == 0
    assert found[of("forwardauth_config_reloads_total", result="failure")] == 1
    assert found[of("forwardauth_build_info", version="1.2.3")] == 1


async def test_what_is_exported_is_what_the_table_says(tmp_path: Path) -> None:
    path = tmp_path / "forwardauth.yml"
    path.write_text(CONFIGURATION)
    text = App(Overrides(str(path)), {}).metrics().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    exported = {f"{name}_total" if family.type == "counter" else name for name, family in families.items()}
    assert exported == set(METRICS)
    for name, (meaning, labels) in METRICS.items():
        family = families[name.removesuffix("_total")]
        assert family.documentation == meaning
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(labels)


@pytest.mark.parametrize(
    "name",
    [
        "forwardauth_decisions_total",
        "forwardauth_decision_seconds",
        "forwardauth_lockouts_active",
        "forwardauth_rate_limited_total",
        "forwardauth_config_reloads_total",
        "forwardauth_audit_dropped_total",
        "forwardauth_auth_disabled",
        "forwardauth_build_info",
    ],
)
def test_the_contracts_metrics_are_in_the_table(name: str) -> None:
    assert name in METRICS


def of_tenant(tenant: str) -> Decision:
    place = Bench(CONFIGURATION).ask("GET", "https://a.example/v1/x").place
    return Decision("rates", place=place, identity=Identity(("keys",), tenant=tenant, key="a"))


def test_decisions_are_counted_by_tenant_and_add_up_to_all() -> None:
    told = counted((of_tenant("alpha"), 1e-5), (of_tenant("beta"), 1e-5), (of_tenant("alpha"), 1e-5))
    assert told[of("forwardauth_tenant_decisions_total", tenant="alpha", decision="allow")] == 2
    assert told[of("forwardauth_tenant_decisions_total", tenant="beta", decision="allow")] == 1
    assert told[decisions("/v1/*", "allow", "-", "keys")] == 3


def test_tenants_have_a_bounded_number_of_labels() -> None:
    first = of_tenant("0")
    metrics = Metrics("1.2.3")
    for number in range(TENANTS + 50):
        first.identity = Identity(("keys",), tenant=str(number), key="a")
        metrics.count(metrics.counter(first), 1e-5)
    told = {labels: value for labels, value in samples(metrics.render()).items() if "tenant" in dict(labels[1])}
    assert len(told) == TENANTS
    assert told[of("forwardauth_tenant_decisions_total", tenant="other", decision="allow")] == 51
