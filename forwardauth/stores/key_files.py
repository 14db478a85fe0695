"""Key files as they are now: `api_keys.json`, and folders with a file for each tenant. Knows paths, no request.

Requests read what is in memory. `LiveFiles.refresh` looks at the files, reads what changed and swaps one reference, so
that it may run in a thread of its own. What is missing or broken is None: whatever depends on it is closed.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakValueDictionary, ref

from forwardauth.core.key_lists import (
    CLIENT_KEYS_SUFFIX,
    TENANT,
    ClientKeys,
    KeyList,
    parse_client_keys,
    parse_key_list,
)
from forwardauth.stores.files import Stamp, read_text, stamp

log = logging.getLogger("forwardauth")

MOST_TENANTS = 10_000
"""Looking at the stamps of so many files takes 60 ms; a folder with more is refused as a whole."""

_UNSETTLED = 2 * 10**9
_MOST_TOLD = 5

T = TypeVar("T", KeyList, ClientKeys)


class LiveFile(Generic[T]):
    """One file, read again when it changed. `now` is what it says; where that is None, `trouble` tells why."""

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        self.path = path
        self.now: T | None = None
        self.trouble = f"{path} was not read yet"
        self._parse: Callable[[str], T] = parse
        self._stamp: Stamp | None = None
        self._digest = b""
        self._lock = Lock()

    def refresh(self) -> bool:
        """Look at the file, and tell the log what changed; whether something did."""
        with self._lock:
            seen = stamp(self.path)
            if seen == self._stamp and self._digest and _settled(seen):
                return False
            text, trouble = self._read()
            digest = sha256((text or trouble).encode()).digest()
            # The stamp from before the text: a save in between shows as a change afterwards.
            self._stamp = seen
            if digest == self._digest:
                return False
            self._digest = digest
            self._take(text, trouble)
            return True

    def _read(self) -> tuple[str | None, str]:
        """The text, or None with what is wrong."""
        try:
            return read_text(self.path), ""
        except ValueError as failure:
            return None, str(failure)

    def _take(self, text: str | None, trouble: str) -> None:
        said = None
        if text is not None:
            try:
                said = self._parse(text)
            except ValueError as failure:
                trouble = f"{self.path} {failure}"
        self.now, self.trouble = said, trouble
        if said is None:
            log.error("%s; what needs it is answered 503 until it is mended", trouble)
        elif said.left_out:
            more = len(said.left_out) - _MOST_TOLD
            told = "; ".join(said.left_out[:_MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")
            log.warning("%s: left out: %s", self.path, told)


class LiveKeys(LiveFile[KeyList]):
    """An `api_keys.json`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, parse_key_list)

    def refresh(self) -> bool:
        """Look at the file, and tell the log what changed; whether something did."""
        changed = super().refresh()
        said = self.now
        if changed and said is not None:
            log.info(
                "%s was read: keys: %d, local networks: %d", self.path, len(said.digests), len(said.local_networks)
            )
            if not said.require_auth:
                log.warning("%s asks nobody for a key: require_auth_for_external is false", self.path)
        return changed


class LiveTenants:
    """A folder of `<tenant>.client-keys.json`.

    `now` has the digests of every tenant's keys, None for one whose file is broken; it is None itself, and `trouble`
    tells why, where the folder cannot be listed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now: Mapping[bytes, frozenset[bytes] | None] | None = None
        self.trouble = ""
        self._files: dict[str, LiveFile[ClientKeys]] = {}
        self._odd: list[str] = []
        self._lock = Lock()

    def refresh(self) -> bool:
        """List the folder, look at every file, and tell the log what changed; whether something did."""
        with self._lock:
            try:
                tenants = self._list()
            except ValueError as failure:
                return self._close(str(failure))
            return self._look(tenants)

    def _list(self) -> list[str]:
        """The tenants that have a file. Requests never name a file: they can only ask for what was listed."""
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries]
        except OSError as failure:
            raise ValueError(f"{self.folder} cannot be listed: {failure.strerror}") from None
        stems = [name.removesuffix(CLIENT_KEYS_SUFFIX) for name in names if name.endswith(CLIENT_KEYS_SUFFIX)]
        if len(stems) > MOST_TENANTS:
            raise ValueError(f"{self.folder} has more than {MOST_TENANTS} files of tenants")
        odd = sorted(stem for stem in stems if not TENANT.fullmatch(stem))
        if odd and odd != self._odd:
            told = ", ".join(f"{stem + CLIENT_KEYS_SUFFIX!r}" for stem in odd[:_MOST_TOLD])
            log.warning("%s: files that no tenant's name leads to: %d: %s", self.folder, len(odd), told)
        self._odd = odd
        return [stem for stem in stems if TENANT.fullmatch(stem)]

    def _close(self, trouble: str) -> bool:
        if trouble == self.trouble:
            return False
        self.now, self.trouble = None, trouble
        log.error("%s; what needs it is answered 503 until it is mended", trouble)
        return True

    def _look(self, tenants: list[str]) -> bool:
        files = {tenant: self._files.get(tenant) or self._file(tenant) for tenant in tenants}
        changed = [file.refresh() for file in files.values()]
        if self.now is not None and not any(changed) and files.keys() == self._files.keys():
            return False
        self._files = files
        self.now = {
            tenant.encode(): None if (said := file.now) is None else said.digests for tenant, file in files.items()
        }
        self.trouble = ""
        log.info("%s was read: tenants: %d, changed: %d", self.folder, len(files), sum(changed))
        return True

    def _file(self, tenant: str) -> LiveFile[ClientKeys]:
        return LiveFile(self.folder / (tenant + CLIENT_KEYS_SUFFIX), parse_client_keys)


class LiveFiles:
    """Every key file that a configuration reads, once.

    They outlive a reload, as the next configuration gets the same objects. What nobody holds any longer is not looked
    at any longer.
    """

    def __init__(self) -> None:
        self._keys: WeakValueDictionary[Path, LiveKeys] = WeakValueDictionary()
        self._tenants: WeakValueDictionary[Path, LiveTenants] = WeakValueDictionary()

    def keys(self, path: Path) -> LiveKeys:
        """An `api_keys.json`, as it is at this moment and from now on."""
        live = self._keys.get(path.absolute()) or LiveKeys(path)
        self._keys[path.absolute()] = live
        live.refresh()
        return live

    def tenants(self, folder: Path) -> LiveTenants:
        """A folder of tenants' files, as it is at this moment and from now on."""
        live = self._tenants.get(folder.absolute()) or LiveTenants(folder)
        self._tenants[folder.absolute()] = live
        live.refresh()
        return live

    def refresh(self) -> bool:
        """Look at all of them; whether one changed.

        May run in a thread: it changes references, and no object that a request reads.
        """
        held: list[ref[LiveKeys] | ref[LiveTenants]] = [*self._keys.valuerefs(), *self._tenants.valuerefs()]
        changed = False
        for each in held:
            live = each()
            changed |= live is not None and live.refresh()
        return changed


def _settled(seen: Stamp | None) -> bool:
    """Whether a later save would have another stamp.

    Two saves of equal length within one tick of the file system's clock (4 ms on ext4, a second on others) look alike,
    so that a file is read again until it is older than that.
    """
    return seen is None or abs(time.time_ns() - seen.ctime) > _UNSETTLED
