"""The client of a running service's control calls. Knows the admin listener of a configuration and its token, no call.

It asks the address itself: http.client knows no proxy of the environment, which would read the token.
"""

import http.client
import json
import re
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from forwardauth.cli.mistakes import end
from forwardauth.config.load import Configuration
from forwardauth.config.settings import Address, parse_listen

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""A service that has to take a million imported keys over answers after seconds, not at once."""

_LARGEST_ANSWER = 64 * 1024 * 1024
# What listens on every address is asked on the loopback, whose Host the admin listener takes for its own.
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class Nobody(Exception):
    """Nobody listens where the service would: none runs here. The text says where."""


class Refused(Exception):
    """Somebody listens, and the call did not succeed. The text says why, and what to do; it holds no token."""


@dataclass(frozen=True, slots=True)
class Control:
    """The admin listener of a service: where it is, and the file of its token (None: none is configured)."""

    address: Address
    folder: Path
    token: Path | None

    @classmethod
    def of(cls, configuration: Configuration) -> "Control":
        """The listener of the service that runs with this configuration."""
        server = configuration.snapshot.settings.server
        token = None if server.admin_token is None else configuration.folder / server.admin_token
        return cls(parse_listen(server.admin), configuration.folder, token)

    def call(
        self, method: str, path: str, wanted: Sequence[str], document: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make one call; its answer, which has the wanted fields. Raises Nobody and Refused."""
        with closing(self._connection()) as connection:
            self._connect(connection)
            headers = {"Authorization": f"Bearer {self._secret()}"}
            body = None
            if document is not None:
                headers["Content-Type"] = "application/json"
                body = json.dumps(document).encode()
            try:
                connection.sock.settimeout(ANSWER_SECONDS)
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                text = answer.read(_LARGEST_ANSWER)
            except TimeoutError:
                raise Refused(f"{self.address} did not answer within {ANSWER_SECONDS:.0f} seconds") from None
            except (OSError, http.client.HTTPException) as failure:
                raise Refused(f"{self.address} broke off: {type(failure).__name__}") from None
        return self._answer(answer.status, text, wanted)

    def _connection(self) -> http.client.HTTPConnection:
        if self.address.unix:
            return _UnixConnection(self.folder / self.address.unix)
        host = _EVERYWHERE.get(self.address.host, self.address.host)
        return http.client.HTTPConnection(host, self.address.port, timeout=CONNECT_SECONDS)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except (ConnectionRefusedError, FileNotFoundError):
            raise Nobody(f"no service runs here: nobody listens on {self.address} (server.admin)") from None
        except OSError as failure:
            raise Refused(f"{self.address} cannot be reached: {failure.strerror or failure}") from None

    def _secret(self) -> str:
        if self.token is None:
            raise Refused(
                "control calls need server.admin_token: set it to the name of a file, and restart the service"
            )
        try:
            secret = self.token.read_text(encoding="utf-8").strip()
        except OSError as failure:
            raise Refused(f"{self.token} (server.admin_token) cannot be read: {failure.strerror}") from None
        except UnicodeDecodeError:
            secret = ""
        # Checked here: http.client's own error for a value that fits into no header repeats it.
        if not re.fullmatch(r"[ -~]+", secret):
            raise Refused(f"{self.token} (server.admin_token) holds no token: remove it, and restart the service")
        return secret

    def _answer(self, status: int, text: bytes, wanted: Sequence[str]) -> dict[str, Any]:
        if status == 401:
            raise Refused(
                f"{self.address} does not accept the token of {self.token}: does the service run with this "
                "server.admin_token, and may nobody else read the file?"
            )
        if status == 404:
            raise Refused(f"{self.address} does not know this call: is it forwardauth, and of this version?")
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if status != 200 and isinstance(document, dict) and "error" in document:
            raise Refused(f"{self.address} answers {status}: {_line(document['error'])}")
        if status != 200 or not isinstance(document, dict) or not all(field in document for field in wanted):
            raise Refused(f"{self.address} answers {status}, and not as this version of forwardauth would")
        return document


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; its Host is loopback's, as the listener wants it."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CONNECT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(self.timeout)
            opened.connect(str(self._path))
        except BaseException:
            opened.close()
            raise
        self.sock = opened


def _line(text: object) -> str:
    """What another program says, as one short line."""
    line = " ".join(str(text).split())
    return "".join(letter for letter in line if letter.isprintable())[:300]


def ask(
    configuration: Configuration, method: str, path: str, wanted: Sequence[str], document: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The answer of the running service; without one the command ends with the line that says why."""
    try:
        return Control.of(configuration).call(method, path, wanted, document)
    except (Nobody, Refused) as failure:
        end(str(failure))


def tell_of_keys(configuration: Configuration) -> None:
    """Have the running service take over what was changed in the database; without one there is nothing to do.

    The change is made, so that a service that cannot be told is a warning: it looks at the database by itself.
    """
    try:
        Control.of(configuration).call("POST", "/control/keys/refresh", ["refreshed"])
    except Nobody:
        pass
    except Refused as failure:
        click.echo(
            f"forwardauth: warning: the change is made; the running service was not told, and follows within a second: "
            f"{failure}",
            err=True,
        )
