"""A thread that writes finished bytes to a file. Knows no line's meaning.

The loop only appends to a deque: a queue's locks hand the interpreter over to the thread and back, 19 system calls for
each batch. The thread wakes for the first batch, waits a moment for more, and writes all at once. Bounded: what a slow
disk or a full pipe leaves behind is dropped and counted.
"""

import logging
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path

log = logging.getLogger("forwardauth.audit")

GATHER_SECONDS = 0.005
"""Long enough for some three batches at full load; at 0.02 s a write held the processor for 0.8 ms: the p99."""

MOST_BATCHES = 512
"""Batches that may wait: of 64 lines with about 400 bytes each, some 13 MB."""


class Writer:
    """Writes batches of lines to a path, `-` (stdout) or nothing (`off`). `dropped` counts lost lines.

    Raises OSError where the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.dropped = 0
        self.path = path
        self._batches: deque[tuple[bytes, int]] = deque()
        self._waiting = threading.Event()
        self._ending = threading.Event()
        self._torn = False
        self._file = _open(path)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        if self._file is not None:
            self._thread.start()

    @property
    def writes(self) -> bool:
        """Whether anything is written at all."""
        return self._file is not None

    def put(self, lines: bytes, count: int) -> None:
        """Hand over `count` whole lines."""
        if len(self._batches) >= MOST_BATCHES:
            self.dropped += count
            return
        self._batches.append((lines, count))
        if not self._waiting.is_set():
            self._waiting.set()

    def close(self) -> None:
        """Write what is left; waits at most 5 seconds for the disk."""
        self._ending.set()
        self._waiting.set()
        if self._file is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        assert self._file is not None
        while not (self._ending.is_set() and not self._batches):
            self._waiting.wait()
            if not self._ending.is_set():
                time.sleep(GATHER_SECONDS)
            # Cleared before the batches are taken: one that comes in between wakes the thread again.
            self._waiting.clear()
            self._write_all(self._file)
        if self._file > 2:
            os.close(self._file)

    def _write_all(self, file: int) -> None:
        batches = [self._batches.popleft() for _ in range(len(self._batches))]
        if not batches:
            return
        # A write that failed half-way left a piece of a line behind, which must not run into the next one.
        data = (b"\n" if self._torn else b"") + b"".join(lines for lines, _ in batches)
        try:
            while data:
                data = data[os.write(file, data) :]
                self._torn = bool(data)
        except OSError as failure:
            if self.dropped == 0:
                log.error("audit lines are lost, %s cannot be written: %s", self.path, failure.strerror)
            self.dropped += sum(count for _, count in batches)
        else:
            self._torn = False


def _open(path: str) -> int | None:
    if path == "off":
        return None
    if path == "-":
        sys.stdout.flush()
        return 1
    # Only owner and group read who called what; an existing file keeps its mode.
    return os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
