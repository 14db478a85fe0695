"""The composition root: the only file that knows every room. Builds, starts, reloads and ends the service."""

import asyncio
import gc
import logging
import secrets
import signal
import socket
import time
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from forwardauth import __version__
from forwardauth.authn.basic import PASSWORD
from forwardauth.config.load import Configuration, Overrides, load
from forwardauth.config.materials import Records
from forwardauth.config.mistakes import ConfigurationError, Mistake
from forwardauth.config.risks import default_gateways, risks
from forwardauth.config.settings import ServerSettings, parse_listen
from forwardauth.core.client_ip import address_keys, parse_address
from forwardauth.explanation import stations, view_of
from forwardauth.server.lane import Lane
from forwardauth.server.listen import BACKLOG, ListenError, Listening, allow_connections, open_socket
from forwardauth.service import Service
from forwardauth.stores.files import Stamp, own_secret, stamp
from forwardauth.stores.following import KeyFollower
from forwardauth.stores.passwords import PasswordChecks
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.crowd import Crowd
from forwardauth.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from forwardauth.web.sites import Sites

log = logging.getLogger("forwardauth")

WATCH_SECONDS = 0.4
"""A change of a file is in force within a second: half of it to see the change, the rest to read it."""

TRY_AGAIN_SECONDS = (1.0, 60.0)
"""A configuration that could not be read is tried again after the first, then twice as long, up to the second: what was
wrong may have passed without a change of a file, and each try holds the loop for as long as reading takes.
"""

KEY_FILES_SECONDS = 0.1
"""Scripts try the key that they just wrote: five tries with a key that is not known yet would lock them out."""

DRAIN_SECONDS = 25.0

_FILES = 256
"""Open files beside connections: listeners, audit, database, what is read at the moment."""


class App:
    """One running service."""

    def __init__(self, overrides: Overrides, environment: Mapping[str, str]) -> None:
        self._overrides = overrides
        self._environment = environment
        self._process_key = secrets.token_bytes(32)
        self._records = Records()
        self._configuration = self._load()
        self._stamps: dict[Path, Stamp | None] = dict(self._configuration.stamps)
        self._stopping = asyncio.Event()
        self._sites: Sites | None = None
        self._lane: Lane | None = None
        self._server: asyncio.Server | None = None
        self._listening: list[Listening] = []
        self._refused: list[str] = []
        self._try_again_after = self._try_again_at = 0.0
        self._crowd = Crowd()
        self._told_client: str | None = None
        self._passwords = PasswordChecks()
        snapshot = self._configuration.snapshot
        later = asyncio.get_running_loop().call_later
        try:
            self._audit = AuditLog(_audit_path(self._configuration), later, self._crowd)
        except OSError as failure:
            text = f"{failure.filename} cannot be written: {failure.strerror}"
            raise ConfigurationError([Mistake("audit.path", text)]) from None
        self._metrics = Metrics(__version__)
        self.service = Service(snapshot, {PASSWORD: self._passwords.fetch}, self._audit, self._metrics)
        self._keys: KeyFollower | None = None
        self._set_gauges()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; SIGHUP or a changed file reads the configuration again."""
        try:
            await self._run()
        finally:
            # Where the start failed: an end in order removed them first.
            self._remove_unix_sockets()

    async def _run(self) -> None:
        server = self._configuration.snapshot.settings.server
        folder = self._configuration.folder
        self._allow_connections(server)
        listening = self._open(server.listen, "listen", folder)
        admin = self._open(server.admin, "admin", folder)
        self._tell_risks()
        await self._follow_keys()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        await self._start_decisions(listening)
        token = _admin_token(self._configuration)
        await self._web().start_admin(self, token, parse_listen(server.admin).host, admin, server.max_connections)
        log.info("forwardauth %s answers on %s, metrics on %s", __version__, server.listen, server.admin)
        # What lives now lives for good; later sweeps need not look at it (and stop the loop for it).
        gc.collect()
        gc.freeze()
        # Small sweeps: at 50,000 one held the loop for 3 ms, which was the p99. Full ones hardly ever come: they hold
        # it for as long as reading all of memory takes. So nothing that comes and goes may be a cycle. Connections,
        # identities and replaced configurations are freed when the last one lets go of them.
        gc.set_threshold(2_000, 10, 1_000)
        watchers = [asyncio.create_task(self._watch()), asyncio.create_task(self._watch_key_files())]
        await self._stopping.wait()
        for watcher in watchers:
            watcher.cancel()
        await self._stop()

    def reload(self, tries_again: bool = False) -> list[str]:
        """Read the configuration again. The running one stays if the new one has mistakes, which are returned.

        One that `tries_again`, unasked, tells only what is new.
        """
        try:
            configuration = self._load()
        except Exception as failure:
            refused = [type(failure).__name__]
            is_told = isinstance(failure, ConfigurationError)
            if isinstance(failure, ConfigurationError):
                self._stamps |= failure.stamps
                refused = [str(mistake) for mistake in failure.mistakes]
            if not tries_again or refused != self._refused:
                self._metrics.reloaded("failure")
                text = "the configuration has mistakes, the running one stays:\n%s"
                log.error(text, "\n".join(refused), exc_info=None if is_told else failure)
            self._refused = refused
            first, longest = TRY_AGAIN_SECONDS
            self._try_again_after = min(2 * self._try_again_after, longest) if tries_again else first
            self._try_again_at = time.monotonic() + self._try_again_after
            return refused
        self._refused = []
        self._warn_of_restart(configuration)
        self._configuration = configuration
        self._stamps = dict(configuration.stamps)
        self.service.swap(configuration.snapshot)
        if self._lane is not None:
            self._lane.forget()
        self._metrics.reloaded("success")
        log.info("the configuration was read again from %s", configuration.source)
        self._tell_risks()
        return []

    # What operators may ask (web/admin.py).

    def metrics(self) -> bytes:
        """The text of `/metrics`."""
        return self._metrics.render()

    def ready(self) -> bool:
        """Whether new requests should come here."""
        return not self._stopping.is_set()

    async def refresh_keys(self) -> int | None:
        """Take what changed in the database, at once; its revision, None without a database. Raises what it raises."""
        return None if self._keys is None else await self._keys.refresh()

    async def explain(
        self, method: str, headers: list[tuple[str, str]], client: str, url: str
    ) -> tuple[bool, list[str]]:
        """Whether a request would pass now, and every station's answer. Changes nothing. Raises ValueError."""
        snapshot = self.service.snapshot
        decision = await self.service.explain(view_of(snapshot, method, headers, client, url), snapshot)
        return decision.denial is None, stations(decision, snapshot)

    def lockouts(self) -> list[dict[str, object]]:
        """The live blocks: address or network, and the seconds that are left."""
        active = self.service.lockout.active(time.monotonic())
        return [{"client": _shown(key), "seconds": round(left, 1)} for key, left in active.items()]

    def clear_lockouts(self, client: str | None) -> int:
        """Forget every failure and block, or those of one client. Raises ValueError for what is no address."""
        if client is None:
            return self.service.lockout.clear()
        return self.service.lockout.forget(address_keys(parse_address(client)))

    # Starting and ending.

    def _load(self) -> Configuration:
        return load(self._overrides, self._environment, self._process_key, self._records)

    async def _follow_keys(self) -> None:
        """Load the keys of the database; nobody is let in by one before. Raises ConfigurationError."""
        url = self._configuration.snapshot.settings.database
        if url is None:
            return
        # Imported here: it costs 30 MB and half a second, which a configuration without a database does not pay.
        from forwardauth.stores.sql import Database, KeyStore, StoreError

        folder = self._configuration.folder
        self._keys = KeyFollower(
            lambda: KeyStore(Database.open(url, folder)), self._records.key_index, self.service.uses
        )
        try:
            await self._keys.start()
        except StoreError as failure:
            await self._keys.stop()
            raise ConfigurationError([Mistake("database", str(failure))]) from None

    def _allow_connections(self, server: ServerSettings) -> None:
        wanted = 2 * server.max_connections + _FILES
        allowed = allow_connections(wanted)
        if allowed < wanted:
            text = "only %d files may be open, %d are wanted for server.max_connections; raise the limit (ulimit -n)"
            log.warning(text, allowed, wanted)

    def _open(self, address: str, setting: str, folder: Path) -> socket.socket:
        """A listener, whose file ends with this service. Raises ListenError."""
        self._listening.append(open_socket(parse_listen(address), setting, folder))
        return self._listening[-1].socket

    async def _start_decisions(self, listening: socket.socket) -> None:
        settings = self._configuration.snapshot.settings.server
        if settings.engine == "aiohttp":
            await self._web().start_decisions(self.service, listening, settings.max_connections)
            return
        self._lane = Lane(self.service, settings.max_connections)
        self._lane.start()
        loop = asyncio.get_running_loop()
        if listening.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(self._lane.connection, sock=listening, backlog=BACKLOG)
        else:
            self._server = await loop.create_server(self._lane.connection, sock=listening, backlog=BACKLOG)

    def _web(self) -> "Sites":
        # Imported once decisions are answered: aiohttp takes as long to import as everything else together.
        from forwardauth.web.sites import Sites

        if self._sites is None:
            self._sites = Sites(BACKLOG)
        return self._sites

    async def _stop(self) -> None:
        """Take no new connection, answer what is in flight, and write the last audit lines."""
        log.info("ending: answering what is in flight")
        # Before anything is waited for: whoever starts meanwhile makes files of the same name.
        self._remove_unix_sockets()
        if self._server is not None:
            self._server.close()
        if self._lane is not None:
            await self._lane.drain(DRAIN_SECONDS)
            self._lane.stop()
        await self._web().stop()
        if self._keys is not None:
            await self._keys.stop()
        self._passwords.close()
        self._audit.close()

    def _remove_unix_sockets(self) -> None:
        # Once: behind that the file system may give a successor's socket the same number.
        while self._listening:
            self._listening.pop().remove_file()

    # Watching.

    async def _watch(self) -> None:
        """Look again and again, whatever one look runs into."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self._look()
            except Exception:
                log.exception("the files could not be looked at")

    async def _watch_key_files(self) -> None:
        """Look at the key files, often, but for no more than a twentieth of the time."""
        took = 0.0
        while True:
            await asyncio.sleep(max(KEY_FILES_SECONDS, 20 * took))
            began = time.monotonic()
            try:
                # In a thread: a folder of ten thousand files takes 60 ms to look at.
                if await asyncio.to_thread(self._records.key_files.refresh):
                    self._tell_risks()
            except Exception:
                log.exception("the key files could not be looked at")
            took = time.monotonic() - began

    async def _look(self) -> None:
        """Look at the files of the configuration, and at whether one address carries nearly all requests."""
        seen = {path: stamp(path) for path in self._stamps}
        if seen != self._stamps:
            self._stamps = seen
            self.reload()
        elif self._refused and time.monotonic() >= self._try_again_at:
            # Too many open files, a disk that was away.
            self.reload(tries_again=True)
        one_client = self._crowd.one_client
        self._metrics.warnings["one_client",] = float(one_client is not None)
        if one_client is not None and one_client != self._told_client:
            log.warning("%s carries nearly all requests: does the gateway tell its clients' addresses?", one_client)
        self._told_client = one_client

    def _tell_risks(self) -> None:
        for word in ("bypass_overlaps_peers", "bypass_holds_gateway"):
            self._metrics.warnings[word,] = 0.0
        for risk in risks(self._configuration.snapshot, default_gateways()):
            log.warning(risk.text)
            if risk.word:
                self._metrics.warnings[risk.word,] = 1.0

    def _warn_of_restart(self, configuration: Configuration) -> None:
        """Listeners and the audit file are opened once."""
        before, after = self._configuration.snapshot.settings, configuration.snapshot.settings
        fixed = ("listen", "public", "admin", "engine", "max_connections", "admin_token")
        changed = [f"server.{key}" for key in fixed if getattr(before.server, key) != getattr(after.server, key)]
        if before.audit != after.audit:
            changed.append("audit.path")
        if before.database != after.database:
            changed.append("database")
        if changed:
            log.warning("a restart is needed for %s", ", ".join(changed))

    def _connections(self) -> int:
        """Open connections of gateways, at whichever door."""
        of_site = 0 if self._sites is None else self._sites.decision_connections
        return of_site + (0 if self._lane is None else len(self._lane.connections))

    def _set_gauges(self) -> None:
        gauges = self._metrics.gauges
        gauges["forwardauth_lockouts_active"] = lambda: len(self.service.lockout.active(time.monotonic()))
        gauges["forwardauth_lockouts_overflowed_total"] = lambda: self.service.lockout.overflowed
        gauges["forwardauth_audit_dropped_total"] = lambda: self._audit.dropped
        gauges["forwardauth_auth_disabled"] = lambda: float(not self.service.snapshot.require_auth)
        self._metrics.keys = lambda: self._keys.counts if self._keys is not None else {}
        gauges["forwardauth_database_up"] = lambda: float(self._keys is not None and self._keys.reachable)
        gauges["forwardauth_connections"] = self._connections


def serve(overrides: Overrides, environment: Mapping[str, str]) -> None:
    """Run the service to its end. Raises ConfigurationError and ListenError before anything listens."""

    async def main() -> None:
        await App(overrides, environment).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _audit_path(configuration: Configuration) -> str:
    """The audit file, below the configuration's folder; `-` and `off` as they are."""
    path = configuration.snapshot.settings.audit.path
    return path if path in ("-", "off") else str(configuration.folder / path)


def _admin_token(configuration: Configuration) -> str | None:
    """The secret of the control calls, from its file, which is made if it is missing; None where none is set."""
    name = configuration.snapshot.settings.server.admin_token
    if name is None:
        return None
    try:
        return own_secret(configuration.folder / name)
    except ValueError as failure:
        log.error("control calls are off: %s", failure)
        return None


def _shown(key: bytes) -> str:
    """A lockout key as people write it."""
    if len(key) == 4:
        return str(ip_address(key))
    if len(key) in (6, 8):
        return f"{ip_address(key.ljust(16, bytes(1)))}/{len(key) * 8}"
    return f"user at {_shown(key[:-16])}"


__all__ = ["App", "ListenError", "serve"]
