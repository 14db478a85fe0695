"""What a route requires: one authenticator, `any` of several, or `all` of them, nested. Knows no kind of credential.

The answer is one Identity, one Denial or one Need. `any` takes the first that accepts and reports the first refusal
that is not a missing credential; `all` judges in order and stops at the first refusal.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from forwardauth.core.memo import Memo
from forwardauth.core.model import Authenticator, Client, Facts, Identity, Need, Now, Rejected, RequestView
from forwardauth.core.reasons import (
    AMBIGUOUS_CREDENTIALS,
    DENIALS,
    MISSING_CREDENTIAL,
    NETWORK_NOT_ALLOWED,
    Denial,
)

Judged = Identity | Rejected | Need
Wrong = list[Denial]
"""Refused guesses that an `any` passed over: they count, even where something else was accepted."""


@dataclass(slots=True, eq=False)
class One:
    """One authenticator."""

    authenticator: Authenticator
    _nothing: Rejected = field(init=False)

    def __post_init__(self) -> None:
        self._nothing = Rejected(self.authenticator.missing or DENIALS[NETWORK_NOT_ALLOWED])

    @property
    def missing(self) -> Denial | None:
        """What somebody reads who presented nothing."""
        return self.authenticator.missing

    @property
    def guessable(self) -> bool:
        """Whether the secret is a password."""
        return self.authenticator.guessable

    def authenticators(self) -> Iterator[Authenticator]:
        """The authenticators below this node, in order."""
        yield self.authenticator

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now, wrong: Wrong) -> Judged:
        """What the authenticator says; nothing of its own presented is a missing credential."""
        verdict = self.authenticator.judge(view, client, facts, now)
        return self._nothing if verdict is None else verdict


@dataclass(slots=True, eq=False)
class AnyOf:
    """One of several."""

    members: tuple["Requirement", ...]
    _challenged: dict[tuple[Denial, int], Denial] = field(default_factory=dict)

    @property
    def missing(self) -> Denial | None:
        """The first member's words, with the challenges of all."""
        for index, member in enumerate(self.members):
            if member.missing is not None:
                return self._with_challenges(member.missing, index)
        return None

    @property
    def guessable(self) -> bool:
        """Whether one of the secrets is a password."""
        return any(member.guessable for member in self.members)

    def authenticators(self) -> Iterator[Authenticator]:
        """The authenticators below this node, in order."""
        for member in self.members:
            yield from member.authenticators()

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now, wrong: Wrong) -> Judged:
        """The first identity; without one the first refusal.

        Members after an accepted one are only asked whether they know a second, different credential; passwords are
        not, because the difference between the two answers would tell a guesser which password is right.
        """
        accepted: Identity | None = None
        refused: list[tuple[Rejected, int]] = []
        for index, member in enumerate(self.members):
            if accepted is not None and member.guessable:
                continue
            verdict = member.judge(view, client, facts, now, wrong)
            if isinstance(verdict, Identity):
                if accepted is None:
                    accepted = verdict
                elif verdict.credential and accepted.credential and not verdict.same_caller(accepted):
                    return Rejected(DENIALS[AMBIGUOUS_CREDENTIALS])
            elif isinstance(verdict, Rejected):
                if verdict.denial.reason is AMBIGUOUS_CREDENTIALS:
                    return verdict
                refused.append((verdict, index))
            elif accepted is None:
                return verdict
        # A wrong password is a guess, whatever else was presented.
        wrong += [refusal.denial for refusal, _ in refused if refusal.denial.owned and refusal.denial.reason.counts]
        return accepted if accepted is not None else self._refusal(refused, wrong)

    def _refusal(self, refused: list[tuple[Rejected, int]], wrong: Wrong) -> Rejected:
        """What is reported when nobody accepted; a value that no member owns is a guess, even where another is told."""
        owned = {refusal.value for refusal, _ in refused if refusal.denial.owned and refusal.value is not None}
        told = [(refusal, index) for refusal, index in refused if refusal.denial.owned or refusal.value not in owned]
        wrong += [refusal.denial for refusal, _ in told if refusal.denial.reason.counts]
        refusal, index = min(told, key=_rank)
        return Rejected(self._with_challenges(refusal.denial, index), refusal.value)

    def _with_challenges(self, denial: Denial, refused: int) -> Denial:
        """The denial with the challenges of all members, in order, in one line (RFC 9110 11.6.1)."""
        if denial.reason.status != 401:
            return denial
        made = self._challenged.get((denial, refused))
        if made is None:
            asked = [
                denial.challenge if index == refused else member.missing.challenge if member.missing else ""
                for index, member in enumerate(self.members)
            ]
            challenges = [challenge for challenge in dict.fromkeys(asked) if challenge]
            made = replace(denial, challenge=", ".join(challenges))
            self._challenged[denial, refused] = made
        return made


def _rank(refusal: tuple[Rejected, int]) -> int:
    reason = refusal[0].denial.reason
    if reason is NETWORK_NOT_ALLOWED:
        return 2
    return 1 if reason is MISSING_CREDENTIAL else 0


@dataclass(slots=True, eq=False)
class AllOf:
    """Every one of several, each with a credential of its own."""

    members: tuple["Requirement", ...]
    _merged: Memo[tuple[Identity, ...], Identity] = field(default_factory=lambda: Memo(4096))

    @property
    def missing(self) -> Denial | None:
        """The first member's words."""
        return next((member.missing for member in self.members if member.missing is not None), None)

    @property
    def guessable(self) -> bool:
        """Whether one of the secrets is a password."""
        return any(member.guessable for member in self.members)

    def authenticators(self) -> Iterator[Authenticator]:
        """The authenticators below this node, in order."""
        for member in self.members:
            yield from member.authenticators()

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now, wrong: Wrong) -> Judged:
        """All identities in one, or the first refusal."""
        accepted: list[Identity] = []
        for member in self.members:
            verdict = member.judge(view, client, facts, now, wrong)
            if not isinstance(verdict, Identity):
                return verdict
            accepted.append(verdict)
        key = tuple(accepted)
        merged = self._merged.get(key)
        if merged is None:
            merged = merge(key)
            self._merged.put(key, merged)
        return merged


Requirement = One | AnyOf | AllOf


def merge(identities: tuple[Identity, ...]) -> Identity:
    """One identity out of several: each field from the first that sets it; ambient only if all are."""
    parts = tuple(part for identity in identities for part in identity.parts)
    return Identity(
        authenticators=tuple(name for identity in identities for name in identity.authenticators),
        user=next((part.user for part in parts if part.user), ""),
        email=next((part.email for part in parts if part.email), ""),
        groups=next((part.groups for part in parts if part.groups), ()),
        tenant=next((part.tenant for part in parts if part.tenant), ""),
        key=next((part.key for part in parts if part.key), ""),
        credential="\n".join(part.credential for part in parts if part.credential),
        ambient=all(part.ambient for part in parts),
        merged_of=parts,
    )
