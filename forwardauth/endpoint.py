"""One dialect of one configuration: a subrequest becomes a view, a decision becomes what is answered and recorded.

It knows names, formats and words, and neither decides nor changes a table. What decisions have in common (the reply,
the counter, most of the audit line) is made once for each place and identity, and looked up from then on.
"""

from dataclasses import dataclass

from forwardauth.config.snapshot import Snapshot
from forwardauth.core.credentials import COOKIE, basic_user, without_cookies
from forwardauth.core.decide import Decision, upgrades
from forwardauth.core.memo import Memo
from forwardauth.core.model import Identity, RequestView, Subrequest
from forwardauth.core.reasons import Denial
from forwardauth.core.reply import Reply, identity_headers
from forwardauth.core.routes import Place, Route
from forwardauth.gateways.dialect import Dialect
from forwardauth.replies import deny
from forwardauth.replies.login import to_login, wants_page
from forwardauth.telemetry.audit import Template, template_of
from forwardauth.telemetry.metrics import Counter, Metrics
from forwardauth.telemetry.redact import shown

_ALLOW_HEADERS = (("Cache-Control", "no-store"),)
_LONGEST_USER = 256

# A stranger makes an entry for each path: at most 16,384 of them, 19 MB with the places that they hold.
_OUTCOMES = 8192
_LONGEST_SHARED_PATH = 256


@dataclass(slots=True, eq=False)
class Outcome:
    """How the decisions of an endpoint and a place are answered and recorded.

    `passes` tells that the reply may carry credentials of the request. The two are known by their stamps, because an
    identity keeps its last outcome, which must not keep a configuration that is gone.
    """

    endpoint: object
    place: object
    reply: Reply
    counter: Counter
    template: Template | None = None
    passes: bool = False


class Endpoint:
    """Where one gateway asks. `path` is the endpoint as it stands in a target, with a slash if more may follow it."""

    def __init__(self, dialect: Dialect, snapshot: Snapshot, metrics: Metrics) -> None:
        self.dialect = dialect
        self.snapshot = snapshot
        self.stamp = object()
        self.path = dialect.path.encode() + (b"/" if dialect.below else b"")
        self._names = snapshot.header_names[dialect.name]
        self._metrics = metrics
        self._outcomes: Memo[tuple[Place | None, Denial | None, Identity], Outcome] = Memo(_OUTCOMES)
        self._denied: dict[tuple[Denial, str], Reply] = {}

    def read(self, subrequest: Subrequest) -> RequestView:
        """The view of a subrequest; of an untrusted peer nothing is read.

        It depends on the configuration, the peer and the message alone, and holds no verdict, so a message that comes
        again byte by byte is read once.
        """
        read = subrequest.read
        if read is not None and read[0] is self:
            return read[1]
        view = RequestView()
        if self.snapshot.trusts(subrequest.peer):
            view.peer_trusted = True
            self._names.read(subrequest.headers, view)
            self.dialect.read(subrequest, view)
        subrequest.read = (self, view)
        return view

    def outcome(self, view: RequestView, decision: Decision) -> Outcome:
        """How this decision is answered and recorded."""
        identity, place = decision.identity, decision.place
        if decision.denial is None and place is not None:
            # Nearly every caller asks for one place after the other; the memo of all costs four looks into cold memory.
            made: Outcome | None = identity.made
            if made is not None and made.place is place.stamp and made.endpoint is self.stamp:
                return made
        key = (place, decision.denial, identity)
        outcome = self._outcomes.young.get(key) or self._outcomes.get(key)
        if outcome is None:
            at = None if place is None else place.stamp
            outcome = Outcome(self.stamp, at, self._reply(view, decision), self._metrics.counter(decision))
            if place is not None and decision.denial is None:
                outcome.passes = place.route.pass_credentials != "false" or bool(self.snapshot.credential_cookies)
            if self._is_shared(decision):
                outcome.template = template_of(view, decision)
                self._outcomes.put(key, outcome)
        if decision.denial is None and outcome.template is not None:
            identity.made = outcome
        return outcome

    def with_credentials(self, reply: Reply, view: RequestView, route: Route) -> Reply:
        """A 200 with the credentials of the request that the backend is to get."""
        passed = _passed_credentials(view, self.snapshot, route)
        return Reply(200, reply.headers + passed) if passed else reply

    def gateway_user(self, view: RequestView) -> str | None:
        """The user that the gateway says it checked: a header's value, or the user name of `Authorization: Basic`."""
        header = self.snapshot.gateway_user
        if header is None:
            return None
        if header == b"authorization":
            user = basic_user(view)
            return None if user is None else shown(user.encode(), _LONGEST_USER)
        value = view.fields.get(header)
        return shown(value, _LONGEST_USER) if value else None

    def _is_shared(self, decision: Decision) -> bool:
        """Whether all decisions of this place, denial and identity have one outcome, worth remembering."""
        place, denial = decision.place, decision.denial
        if place is None or decision.client is None or len(place.path) > _LONGEST_SHARED_PATH:
            return False
        asks_browser = denial is not None and (place.route.errors == "browser" or bool(place.route.login))
        return not (decision.retry_after or asks_browser or self.snapshot.gateway_user is not None)

    def _reply(self, view: RequestView, decision: Decision) -> Reply:
        denial = decision.denial
        if denial is None:
            headers = _ALLOW_HEADERS + identity_headers(decision.identity, self.snapshot.further_names)
            return self.dialect.write(Reply(200, headers))
        if denial.reason.status == 401 and decision.place is not None and decision.place.route.login:
            redirect = self._redirect(view, decision.place)
            if redirect is not None:
                return self.dialect.write(redirect)
        format_name = self.snapshot.errors if decision.place is None else decision.place.route.errors
        if format_name == "browser" and not (
            self.dialect.carries_html and b"text/html" in view.fields.get(b"accept", b"")
        ):
            format_name = "plain"
        if decision.retry_after:
            limited = deny(denial, format_name, decision.retry_after, decision.limit, decision.limit_scope)
            return self.dialect.write(limited)
        key = (denial, format_name)
        reply = self._denied.get(key)
        if reply is None:
            reply = self._denied[key] = self.dialect.write(deny(denial, format_name))
        return reply

    def _redirect(self, view: RequestView, place: Place) -> Reply | None:
        """Where a browser goes that asks for a page; None for every other client."""
        if view.method not in (b"GET", b"HEAD") or upgrades(view) or not wants_page(view.fields.get(b"accept", b"")):
            return None
        secrets = self.snapshot.credential_parameters
        return to_login(place.route.login, view.scheme.decode(), place, view.target, secrets)


def _passed_credentials(view: RequestView, snapshot: Snapshot, route: Route) -> tuple[tuple[str, str], ...]:
    """The client's credential headers that the backend is to get, under their own names; gateways delete the rest.

    A Cookie header that holds one of our cookies among others travels without it, unless the route passes them all.
    """
    mode = route.pass_credentials
    passed: list[tuple[str, str]] = []
    if mode != "false":
        for lower, name in snapshot.credential_headers.items():
            value = view.fields.get(lower)
            if value and lower != COOKIE and (mode == "true" or _foreign(lower, value, snapshot)):
                passed.append((name, value.decode("latin-1")))
    if snapshot.credential_cookies and (line := view.fields.get(COOKIE)):
        kept = line if mode == "true" else without_cookies(line, snapshot.credential_cookies)
        if kept:
            passed.append(("Cookie", kept.decode("latin-1")))
    return tuple(passed)


def _foreign(header: bytes, value: bytes, snapshot: Snapshot) -> bool:
    """Whether no authenticator of the configuration takes a value for its own."""
    return all(authenticator.foreign(header, value) is not False for authenticator in snapshot.authenticators.values())
