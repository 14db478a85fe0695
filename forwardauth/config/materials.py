"""What authenticators and routes are built from: the files that a configuration names, and where mistakes go."""

from dataclasses import dataclass, field
from pathlib import Path

from forwardauth.config.mistakes import Mistakes, join
from forwardauth.core.key_index import KeyIndex
from forwardauth.stores.files import Stamp, read_text, stamp
from forwardauth.stores.key_files import LiveFiles, LiveKeys, LiveTenants


@dataclass(slots=True)
class Records:
    """What outlives a configuration and is read by its authenticators: keys of the database, and of files."""

    key_index: KeyIndex = field(default_factory=KeyIndex)
    key_files: LiveFiles = field(default_factory=LiveFiles)


@dataclass(slots=True)
class ConfigurationMaterials:
    """What one part of a configuration is built from; paths of mistakes start at its own."""

    path: str
    mistakes: Mistakes
    process_key: bytes
    files: "Files"
    records: Records = field(default_factory=Records)
    has_database: bool = False

    @property
    def key_index(self) -> KeyIndex:
        """The keys of the database."""
        return self.records.key_index

    def live_keys(self, path: str) -> LiveKeys:
        """The key file at a path below the configuration's folder."""
        return self.records.key_files.keys(self.files.folder / path)

    def live_tenants(self, directory: str) -> LiveTenants:
        """The folder of tenants' key files at a path below the configuration's folder."""
        return self.records.key_files.tenants(self.files.folder / directory)

    def mistake(self, where: str, what: str) -> None:
        """Note a mistake at a path below this part."""
        self.mistakes.add(join(self.path, where), what)

    def text_of(self, path: str, where: str) -> str | None:
        """The text of a file; None when what is wrong with it was noted."""
        try:
            return self.files.text(path)
        except ValueError as failure:
            self.mistake(where, str(failure))
            return None


@dataclass(slots=True)
class Files:
    """Reads the files that a configuration names, below its folder, and remembers which they were."""

    folder: Path
    stamps: dict[Path, Stamp | None] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The text of a file. Raises ValueError with what is wrong."""
        path = self.folder / name
        # Taken before the text is read: a save in between shows as a change afterwards.
        self.stamps.setdefault(path, stamp(path))
        return read_text(path)
