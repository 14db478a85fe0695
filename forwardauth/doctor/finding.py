"""What a check says. Knows no check, no gateway and no wire."""

from dataclasses import dataclass


class Skipped(Exception):
    """The check cannot be made here. The text says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An attack that succeeded.

    `what` says it in a sentence; `remedy` is the entry of `remedies.REMEDIES` that ends it, and `names` are the headers
    that its lines are to be written for.
    """

    what: str
    remedy: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A check that is over: findings, or why it was skipped, or neither."""

    check: str
    findings: tuple[Finding, ...] = ()
    skipped: str = ""

    @property
    def word(self) -> str:
        """`ok`, `finding` or `skipped`."""
        if self.findings:
            return "finding"
        return "skipped" if self.skipped else "ok"
