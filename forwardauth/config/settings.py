"""The words of the configuration that belong to no other room: server, routes, and the file as a whole.

Every class says what its keys mean; the settings page of the documentation is made of these classes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from forwardauth.core.lockout import LockoutSettings
from forwardauth.core.secret import Secret
from forwardauth.telemetry.audit import AuditSettings

ENGINES = ("httptools", "aiohttp")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens: host and port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    unix: str = ""

    def __str__(self) -> str:
        if self.unix:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Address:
    """`HOST:PORT`, `[IPV6]:PORT`, `:PORT` (every IPv4 address) or `unix:PATH`. Raises ValueError."""
    if text.startswith("unix:") and len(text) > 5:
        return Address(unix=text[5:])
    host, colon, port = text.rpartition(":")
    if (
        not colon
        or not re.fullmatch(r"[0-9]{1,5}", port)
        or int(port) > 65535
        or (":" in host and not host.startswith("["))
    ):
        raise ValueError("expected HOST:PORT (127.0.0.1:9000), :PORT (every IPv4 address) or unix:PATH")
    return Address(host.strip("[]") or "0.0.0.0", int(port))


_WEB_ADDRESS = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?([/?][!$-;=?-Z_a-z~]*)?")


def is_address(text: str) -> bool:
    """Whether a text is an absolute address that a browser can be sent to: http or https, no user, no fragment."""
    return _WEB_ADDRESS.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`server:`. `listen` is for the gateway alone, `public` for people, `admin` for operators.

    `gateways` names the dialects that exist; `trusted_peers` who may ask (addresses, networks, `loopback`, `private`);
    `forwarded_depth` which entry of `X-Forwarded-For` from the right is the client (1: the last).
    `gateway_user_header` carries a user that the gateway says it checked, for the audit alone. `engine` answers
    `/verify`: `httptools` (fast) or `aiohttp`. `admin_token` is the file of the secret for control calls; it is made if
    it is missing. `max_connections` bounds each listener by itself. `public_url` is the address by which people reach
    the public listener.
    """

    listen: str = "127.0.0.1:9000"
    public: str = "127.0.0.1:9003"
    admin: str = "127.0.0.1:9002"
    gateways: list[str] | None = None
    trusted_peers: list[str] = field(default_factory=lambda: ["loopback", "private"])
    forwarded_depth: int = 1
    gateway_user_header: str | None = None
    engine: str = "httptools"
    admin_token: str | None = None
    max_connections: int = 4096
    public_url: str | None = None

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """What is wrong, by key."""
        for key in ("listen", "public", "admin"):
            try:
                parse_listen(getattr(self, key))
            except ValueError as mistake:
                yield key, str(mistake)
        if self.engine not in ENGINES:
            yield "engine", f"expected {' or '.join(ENGINES)}"
        if not 1 <= self.forwarded_depth <= 16:
            yield "forwarded_depth", "expected 1 to 16"
        if not 16 <= self.max_connections <= 1_000_000:
            yield "max_connections", "expected 16 to 1000000"
        if self.public_url is not None and (not is_address(self.public_url) or "?" in self.public_url):
            yield "public_url", "expected an address such as https://auth.example.com"
        if self.gateways is not None and not self.gateways:
            yield "gateways", "expected at least one; leave the key out to have all"


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """One of `routes:`; the first that matches wins. Either `public: true` or `require:`, either `path` or `preset`.

    `path` is one pattern or several (`*` only at the end); `preset` names a backend and stands for the paths and
    methods that its clients need; `host` may begin with `*.` for one label; `methods` are all when absent. `require` is
    an authenticator's name, `any: […]` or `all: […]`, nested as needed. `preflight` lets a true CORS preflight pass;
    `rate` holds per identity, on public routes per client; `errors` is a body format; `origins` are other sites whose
    pages may use cookies and passwords; `pass_credentials` lets the client's credentials through to the backend:
    `true`, `false`, or `foreign` for those that belong to somebody else. `encoded_slashes` accepts `%2F` in the path,
    which every other route refuses. `login` sends browsers that ask for a page to a login page in place of a 401: its
    address, or `true` for `/auth/login` of `server.public_url`. A route that is not `enabled` is not there.
    """

    path: str | list[str] | None = None
    preset: str | None = None
    name: str | None = None
    host: str | None = None
    methods: list[str] | None = None
    public: bool = False
    require: Any = None
    preflight: bool = False
    rate: str | None = None
    errors: str | None = None
    origins: list[str] = field(default_factory=list)
    pass_credentials: bool | str = False
    encoded_slashes: bool = False
    login: bool | str = False
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file. `authenticators` have a name each; the kind is the key below it.

    `database` keeps virtual keys: `sqlite:///data/forwardauth.db` (below the configuration's folder; four slashes: an
    absolute path) or `postgresql://user:password@host/name`.
    """

    authenticators: dict[str, Any] = field(default_factory=dict, repr=False)
    routes: list[RouteSettings] = field(default_factory=list)
    server: ServerSettings = field(default_factory=ServerSettings)
    require_auth: bool = True
    disable_auth: bool = False
    lockout: LockoutSettings = field(default_factory=LockoutSettings)
    identity_headers: dict[str, list[str]] = field(default_factory=dict)
    errors: str = "openai"
    audit: AuditSettings = field(default_factory=AuditSettings)
    database: Secret | None = None

    @property
    def asks(self) -> bool:
        """Whether anything asks for authentication: one word against it is enough to switch it off."""
        return self.require_auth and not self.disable_auth

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the words that have no class of their own."""
        if self.database is not None and not self.database.startswith(("sqlite:///", "postgresql://")):
            yield "database", "expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"


UNBUILT = frozenset(
    {
        "inject",
        "people",
        "shared",
        "routes[].inject",
        "routes[].resource",
        "routes[].models",
    }
)
"""Settings of the contract that this version refuses by name, because nothing implements them."""

UNBUILT_KINDS = frozenset({"delegate", "jwt", "session", "sso_header"})
"""Kinds of authenticators of the contract that this version refuses by name."""
