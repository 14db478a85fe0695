"""What authenticators and routes are built from: the files that a configuration names, and where mistakes go."""

from dataclasses import dataclass, field
from pathlib import Path

from forwardauth.config.mistakes import Mistakes, join
from forwardauth.stores.files import Stamp, read_text, stamp


@dataclass(slots=True)
class ConfigurationMaterials:
    """What one part of a configuration is built from; paths of mistakes start at its own."""

    path: str
    mistakes: Mistakes
    process_key: bytes
    files: "Files"

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
