"""Prometheus metrics. Knows the closed lists of label values; no label ever comes from a request.

A request increments plain integers in dictionaries, which a collector turns into samples when somebody asks:
prometheus-client's own counters take a lock for each increment (0.4 µs).
"""

import resource
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from forwardauth.core.decide import Decision
from forwardauth.core.reasons import FAULT, RATE_LIMITED

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

BUCKETS = (10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 25e-3, 0.1, 0.5, 2.5)
"""Upper bounds of decision times in seconds: from memory 10-50 µs, with a password hash 50-500 ms."""

METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "forwardauth_decisions_total": ("Decisions.", ("route", "decision", "reason", "authenticator")),
    "forwardauth_tenant_decisions_total": (
        "Decisions about credentials that belong to a tenant; from the thousandth tenant on as `other`.",
        ("tenant", "decision"),
    ),
    "forwardauth_decision_seconds": ("Seconds from the request's headers to the answer.", ()),
    "forwardauth_lockouts_active": ("Clients that are locked out now.", ()),
    "forwardauth_lockouts_overflowed_total": ("Failures that found a table full of live blocks.", ()),
    "forwardauth_rate_limited_total": ("Requests over a rate limit.", ("route",)),
    "forwardauth_config_reloads_total": ("Readings of the configuration after the first.", ("result",)),
    "forwardauth_audit_dropped_total": ("Audit lines that were lost.", ()),
    "forwardauth_auth_disabled": ("1 while authentication is disabled.", ()),
    "forwardauth_keys": (
        "Keys of the database, by state: active, expired, disabled, revoked; counted after changes, a million of them "
        "every two minutes at most.",
        ("state",),
    ),
    "forwardauth_database_up": ("1 while the database of keys can be read; what is known stays in force.", ()),
    "forwardauth_connections": ("Open connections on the decision listener.", ()),
    "forwardauth_warnings": (
        "1 while something is risky: bypass_overlaps_peers and bypass_holds_gateway (the gateway's own address would "
        "pass without a credential), one_client (one address carries nearly all requests).",
        ("warning",),
    ),
    "forwardauth_resident_bytes": ("Largest resident memory so far.", ()),
    "forwardauth_build_info": ("The running version.", ("version",)),
}
"""Every metric: what it says, and its labels. The documentation's table is made of this one."""


TENANTS = 1000
"""Tenants that have a label of their own: every one is a time series for whoever scrapes."""

WARNINGS: tuple[tuple[str], ...] = (("bypass_overlaps_peers",), ("bypass_holds_gateway",), ("one_client",))
"""Label values of `forwardauth_warnings`."""


@dataclass(slots=True, eq=False)
class Counter:
    """How many decisions had one combination of labels."""

    count: int = 0


class Metrics:
    """The counters of one process. Gauges are read from functions when somebody asks."""

    def __init__(self, version: str) -> None:
        self.warnings: dict[tuple[str, ...], float] = dict.fromkeys(WARNINGS, 0.0)
        self.gauges: dict[str, Callable[[], float]] = {}
        self.keys: Callable[[], Mapping[str, int]] = dict
        self._version = version
        self._decisions: dict[tuple[str, ...], Counter] = {}
        self._tenants = {""}
        self._reloads: dict[tuple[str, ...], int] = {("success",): 0, ("failure",): 0}
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def counter(self, decision: Decision) -> "Counter":
        """What counts decisions like this one."""
        route = "-" if decision.place is None else decision.place.route.name
        denial = decision.denial
        authenticator = decision.identity.method or "-"
        tenant = self._label_of(decision.identity.tenant)
        if denial is None:
            key = (route, "allow", "-", authenticator, tenant)
        else:
            reason = denial.reason
            key = (route, "fault" if reason is FAULT else "deny", reason.word, authenticator, tenant)
        counter = self._decisions.get(key)
        if counter is None:
            counter = self._decisions[key] = Counter()
        return counter

    def _label_of(self, tenant: str) -> str:
        if tenant not in self._tenants:
            if len(self._tenants) >= TENANTS:
                return "other"
            self._tenants.add(tenant)
        return tenant

    def count(self, counter: "Counter", seconds: float) -> None:
        """Count one decision and the time that it took."""
        counter.count += 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def reloaded(self, result: str) -> None:
        """Count one reading of the configuration: `success` or `failure`."""
        self._reloads[result,] += 1

    def render(self) -> bytes:
        """The text of `/metrics`."""
        # Imported at the first look: a service that nobody scrapes does not pay 5 MB for it.
        from prometheus_client import generate_latest

        return generate_latest(self)

    def collect(self) -> "Iterator[Metric]":
        """The samples, as prometheus-client asks for them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        yield self._counter("forwardauth_decisions_total", self._summed(lambda labels: labels[:4]))
        of_tenants = self._summed(lambda labels: (labels[4], labels[1]) if labels[4] else None)
        yield self._counter("forwardauth_tenant_decisions_total", of_tenants)
        upper = [*map(str, BUCKETS), "+Inf"]
        histogram = HistogramMetricFamily("forwardauth_decision_seconds", METRICS["forwardauth_decision_seconds"][0])
        histogram.add_metric([], list(zip(upper, accumulate(self._buckets), strict=True)), self._seconds)
        yield histogram
        limited = self._summed(lambda labels: labels[:1] if labels[2] == RATE_LIMITED.word else None)
        yield self._counter("forwardauth_rate_limited_total", limited)
        yield self._counter("forwardauth_config_reloads_total", self._reloads)
        yield self._gauge("forwardauth_warnings", self.warnings)
        yield self._gauge("forwardauth_keys", {(state,): count for state, count in self.keys().items()})
        for name, read in self.gauges.items():
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(name, METRICS[name][0], value=read())
        # Linux counts ru_maxrss in kilobytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        yield self._gauge("forwardauth_resident_bytes", {(): peak})
        yield self._gauge("forwardauth_build_info", {(self._version,): 1})

    def _summed(self, labels_of: Callable[[tuple[str, ...]], tuple[str, ...] | None]) -> dict[tuple[str, ...], int]:
        """Decisions by fewer labels; None where a combination does not count."""
        sums: dict[tuple[str, ...], int] = {}
        for combination, counter in self._decisions.items():
            labels = labels_of(combination)
            if labels is not None:
                sums[labels] = sums.get(labels, 0) + counter.count
        return sums

    def _counter(self, name: str, counts: Mapping[tuple[str, ...], int]) -> "Metric":
        from prometheus_client.core import CounterMetricFamily

        text, labels = METRICS[name]
        family = CounterMetricFamily(name, text, labels=labels)
        for values, count in counts.items():
            family.add_metric(list(values), count)
        return family

    def _gauge(self, name: str, values: Mapping[tuple[str, ...], float]) -> "Metric":
        from prometheus_client.core import GaugeMetricFamily

        text, labels = METRICS[name]
        family = GaugeMetricFamily(name, text, labels=labels)
        for label_values, value in values.items():
            family.add_metric(list(label_values), value)
        return family
