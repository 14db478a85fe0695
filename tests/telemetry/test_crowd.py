"""Whether one address carries nearly all requests: then a lockout of one is a lockout of all."""

import pytest

from forwardauth.telemetry.crowd import SAMPLE, Crowd


@pytest.mark.parametrize(
    ("share", "told"),
    [(1.0, "10.0.0.1"), (0.95, "10.0.0.1"), (0.94, None), (0.5, None)],
    ids=["all", "just enough", "not quite", "half"],
)
def test_an_address_is_told_that_has_nearly_all_of_a_sample(share: float, told: str | None) -> None:
    """Attack on the operator: a gateway that tells no addresses makes one client of all (THREATS 21)."""
    crowd = Crowd()
    mine = round(SAMPLE * share)
    crowd.observe(["10.0.0.1"] * mine + [f"192.0.2.{number}" for number in range(SAMPLE - mine)])
    assert crowd.one_client == told


def test_a_few_requests_tell_nothing() -> None:
    crowd = Crowd()
    crowd.observe(["10.0.0.1"] * (SAMPLE - 1))
    assert crowd.one_client is None


def test_it_is_told_no_longer_once_others_come() -> None:
    crowd = Crowd()
    crowd.observe(["10.0.0.1"] * SAMPLE)
    crowd.observe(f"192.0.2.{number % 200}" for number in range(SAMPLE))
    assert crowd.one_client is None
