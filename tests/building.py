"""What the tests are built of: the real loader, the real dialects, the real decision, and a clock that tests turn."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from forwardauth.config.load import Configuration, Overrides, load
from forwardauth.config.materials import Records
from forwardauth.config.mistakes import ConfigurationError
from forwardauth.config.snapshot import Snapshot
from forwardauth.core.client_ip import ClientReader
from forwardauth.core.decide import Decision, decide
from forwardauth.core.lockout import Keys
from forwardauth.core.model import Client, Failed, Identity, Now, RequestView, Reserved, Shaped, Subrequest
from forwardauth.endpoint import Endpoint
from forwardauth.gateways import GATEWAYS
from forwardauth.service import Service
from forwardauth.stores.facts import FactCache, WithFresh
from forwardauth.stores.passwords import verify
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics

Headers = Iterable[tuple[str, str]]

PROCESS_KEY = b"the same for every test, 32 byte"
CLIENT = "192.0.2.1"
NEIGHBOUR = "192.0.2.2"
PEER = "127.0.0.1"

SHA_OF_PASSWORD = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
"""`password`, in the one htpasswd format that costs nothing."""


def configuration(
    text: str,
    environment: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
    records: Records | None = None,
) -> Configuration:
    """The configuration of a YAML text, with the files that stand beside it."""
    with TemporaryDirectory() as folder:
        for name, content in (files or {}).items():
            Path(folder, name).write_text(content)
        path = Path(folder, "forwardauth.yml")
        path.write_text(text)
        return load(Overrides(str(path)), environment or {}, PROCESS_KEY, records)


def snapshot(
    text: str,
    environment: dict[str, str] | None = None,
    files: dict[str, str] | None = None,
    records: Records | None = None,
) -> Snapshot:
    return configuration(text, environment, files, records).snapshot


def mistakes(
    text: str, environment: dict[str, str] | None = None, files: dict[str, str] | None = None
) -> dict[str, str]:
    """What is wrong with a YAML text: YAML path to sentence; empty when nothing is."""
    try:
        configuration(text, environment, files)
    except ConfigurationError as failure:
        return {mistake.path: mistake.text for mistake in failure.mistakes}
    return {}


def basic(user: str, password: str) -> tuple[str, str]:
    """The header of a user name and password."""
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


def client(address: str = CLIENT, further_hops: bool = False) -> Client:
    """A caller as the client reader tells it, for judging without a decision."""
    read = ClientReader(1).read((f"192.0.2.99, {address}" if further_hops else address).encode())
    assert read is not None
    return read


def fields(*headers: tuple[str, str]) -> RequestView:
    """A view that holds these headers and nothing else, for judging without a decision."""
    return RequestView(fields={name.lower().encode(): value.encode() for name, value in headers})


@dataclass
class Clock:
    """Two clocks that stand still until a test moves them."""

    wall: float = 1_800_000_000.0
    monotonic: float = 1_000.0

    def forward(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def now(self) -> Now:
        return Now(self.wall, self.monotonic)


def shaped(names: Sequence[bytes], values: Sequence[bytes]) -> Shaped:
    """Headers as they are where the server knew their names."""
    parts = b"".join(b"(.{%d})" % len(value) for value in values)
    match = re.fullmatch(b"(?s)()" + parts, b"".join(values))
    assert match is not None
    return Shaped(tuple(names), match)


class Bench:
    """A configuration that is asked as Traefik asks, at a time that stands still until a test moves it."""

    def __init__(
        self,
        text: str,
        environment: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
        records: Records | None = None,
    ) -> None:
        self.snapshot = snapshot(text, environment, files, records)
        self.clock = Clock()
        self.service = Service(self.snapshot, {}, AuditLog("off"), Metrics("test"))
        self.endpoint = Endpoint(GATEWAYS["traefik"], self.snapshot, Metrics("test"))
        self.facts = FactCache(lambda: self.clock.monotonic)
        self.hashes = 0

    def view(
        self,
        method: str = "GET",
        url: str = "https://api.example.com/",
        headers: Headers = (),
        client: str = CLIENT,
        peer: str | None = PEER,
        without: str = "",
    ) -> RequestView:
        """The view of a request; `without` names a header of the gateway that is not sent."""
        scheme, _, rest = url.partition("://")
        host, slash, target = rest.partition("/")
        gateway = {
            "Host": "forwardauth:9000",
            "X-Forwarded-Method": method,
            "X-Forwarded-Proto": scheme,
            "X-Forwarded-Host": host,
            "X-Forwarded-Uri": slash + target,
            "X-Forwarded-For": client,
        }
        gateway.pop(without, None)
        sent = [*gateway.items(), *headers]
        subrequest = Subrequest(b"GET", b"/verify/traefik", [(n.encode(), v.encode("latin-1")) for n, v in sent], peer)
        return self.endpoint.read(subrequest)

    def ask(
        self,
        method: str = "GET",
        url: str = "https://api.example.com/",
        *headers: tuple[str, str],
        client: str = CLIENT,
    ) -> Decision:
        """One decision, with its events applied."""
        return self.decide(self.view(method, url, headers, client))

    def decide(self, view: RequestView) -> Decision:
        """Decide as the service does: facts are found out, attempts reserved and settled, events applied."""
        fresh: dict[bytes, bool] = {}
        tables = self.service.tables
        while True:
            outcome = decide(view, self.snapshot, tables, WithFresh(fresh, self.facts), self.clock.now())
            if isinstance(outcome, Decision):
                self.service.rates.charge(outcome.charges, self.clock.monotonic)
                self.service.apply(outcome.events, self.clock.monotonic)
                return outcome
            self.service.apply(outcome.events, self.clock.monotonic)
            self.hashes += 1
            stored, password, exists = outcome.args
            fits = verify(str(stored), str(password)) and exists is True
            fresh[outcome.key] = fits
            if fits:
                self.facts.put(outcome.key)
            for event in outcome.events:
                assert isinstance(event, Reserved)
                self.service.lockout.settle(event.keys)


def word(decision: Decision) -> str:
    """What a decision says, in one word: `allow`, or the reason for its denial."""
    return "allow" if decision.denial is None else decision.denial.reason.word


def failures(decision: Decision) -> list[Keys]:
    """The failed attempts that a decision counts."""
    return [event.keys for event in decision.events if isinstance(event, Failed)]


def who(decision: Decision) -> tuple[str, str, str]:
    """Whom a decision is for: user, key and the names that accepted, joined as in `X-Auth-Method`."""
    identity: Identity = decision.identity
    return identity.user, identity.key, "+".join(identity.authenticators)
