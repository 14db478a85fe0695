"""`forwardauth keys import`: many keys at once, all of them or none. Knows files and progress, and no column."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from forwardauth.cli.configuration import config_option, json_option, loaded_for_keys
from forwardauth.cli.control import tell_of_keys
from forwardauth.cli.database import opened
from forwardauth.cli.keys.making import Making, authenticator_option, making
from forwardauth.cli.keys.rows import MOST_MISTAKES, ImportMistakes, Reading
from forwardauth.cli.mistakes import end

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from forwardauth.stores.sql import KeyStore, NewKey

_OFTEN = 1000
"""Lines between two looks at the progress."""


@click.command("import")
@click.argument("file")
@click.option("--skip-existing", is_flag=True, help="Leave out the keys that are there already.")
@authenticator_option
@config_option
@json_option
def import_keys(file: str, skip_existing: bool, authenticator: str | None, config: str | None, as_json: bool) -> None:
    """Import keys, plain or hashed, from a file; `-` reads stdin. All of them, or with a mistake none.

    CSV with a header line out of name,key,sha256,owner,tenant,expires, or JSON of the same: an object on
    each line, or one array of them.
    """
    now = time.time()
    try:
        with _source(file) as source, opened(loaded_for_keys(config)) as keys, _Progress(source) as progress:
            made_by = making(keys.configuration, authenticator)
            reading = Reading(progress.lines(), made_by.format, now)
            added, skipped = _add(keys.store, reading, made_by, progress.count, skip_existing)
    except ImportMistakes as failure:
        lines = [f"{failure.unit} {number}: {text}" for number, text in failure.mistakes]
        more = ["there may be more mistakes"] if len(lines) == MOST_MISTAKES else []
        end(*lines, *more, "nothing was imported")
    if as_json:
        click.echo(json.dumps({"added": added, "skipped": skipped}))
    else:
        click.echo(f"imported: {added}" + (f", there already: {skipped}" if skip_existing else ""))
    tell_of_keys(keys.configuration)


def _add(
    store: "KeyStore", reading: Reading, made_by: Making, count: Callable[[int], None], skip_existing: bool
) -> tuple[int, int]:
    """How many keys were added and skipped. Raises ImportMistakes, also for a key that is there already."""
    from forwardauth.stores.sql import DuplicateKeyError

    try:
        return store.add_all(_new_keys(reading, made_by), count, skip_existing)
    except DuplicateKeyError as failure:
        text = f"this key is there already, or in an earlier one (id {failure.id}); --skip-existing leaves such out"
        raise ImportMistakes([(reading.number_of(failure.position or 1), text)], reading.unit) from None


def _new_keys(reading: Reading, made_by: Making) -> Iterator["NewKey"]:
    from forwardauth.stores.sql import NewKey

    for row in reading.rows():
        stored, pepper = made_by.stored(row.sha256)
        yield NewKey(row.id, row.name, stored, pepper, reading.created, row.owner, row.tenant, row.expires)


@contextmanager
def _source(file: str) -> Iterator[BinaryIO]:
    """The file, or stdin for `-`."""
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        found = Path(file).open("rb")  # noqa: SIM115 (closed below; what fails there is no matter of opening)
    except OSError as failure:
        end(f"{file} cannot be read: {failure.strerror}")
    with found:
        yield found


class _Progress:
    """How far an import is: a line on stderr, where that is a terminal, and nothing elsewhere."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._shown: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "_Progress":
        if sys.stderr.isatty():
            # Imported here: the other commands start faster without it.
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("importing"),
                BarColumn(),
                TextColumn("{task.fields[keys]:,} keys"),
                TimeElapsedColumn(),
            )
            self._shown = Progress(*columns, console=Console(stderr=True), transient=True)
            self._shown.start()
            self._task = self._shown.add_task("", total=self._size(), keys=0)
        return self

    def __exit__(self, *failure: object) -> None:
        if self._shown is not None:
            self._shown.stop()

    def lines(self) -> Iterator[bytes]:
        """The lines of the source; the bar is as far as they are."""
        done = 0
        for number, line in enumerate(self._source):
            done += len(line)
            if number % _OFTEN == 0:
                self._tell(completed=done)
            yield line

    def count(self, keys: int) -> None:
        """So many keys were read."""
        self._tell(keys=keys)

    def _tell(self, **news: int) -> None:
        if self._shown is not None and self._task is not None:
            self._shown.update(self._task, **news)  # type: ignore[arg-type]

    def _size(self) -> int | None:
        """None for a pipe, whose end nobody knows."""
        return os.fstat(self._source.fileno()).st_size or None
