"""A process that writes until it is killed, and says what it has done only once it is done.

    python -m tests.stores.sql.writer create|rotate|import|open|fill URL

`fill` stores large keys until the disk is full; `open` waits for a line on stdin before it opens.
"""

import argparse
import importlib
import os
import resource
import sys
from contextlib import closing
from itertools import count, islice
from pathlib import Path

from forwardauth.stores.sql import Database, KeyStore, StoreError
from tests.stores.sql.building import new_key

BATCH = 200


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def create(store: KeyStore) -> str:
    return store.create(new_key(os.urandom(8).hex())).id


def rotate(store: KeyStore) -> str:
    digest = os.urandom(32)
    store.rotate("rotated", digest, "", 1.0, 2.0)
    return digest.hex()


def import_batch(store: KeyStore) -> str:
    owner = os.urandom(8).hex()
    store.add_all(new_key(f"{owner}-{number}", owner=owner) for number in range(BATCH))
    return owner


def fill(store: KeyStore) -> str:
    return store.create(new_key(os.urandom(8).hex(), metadata="x" * 20_000)).id


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("what", choices=["create", "rotate", "import", "open", "fill"])
    arguments.add_argument("url")
    arguments.add_argument("--times", type=int)
    arguments.add_argument("--largest-file", type=int)
    told = arguments.parse_args()
    if told.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (told.largest_file, told.largest_file))
    if told.what == "open":
        # Loaded before, so that those who open together do so within milliseconds.
        importlib.import_module("alembic.command")
        tell("ready")
        sys.stdin.readline()
    write = {"create": create, "rotate": rotate, "import": import_batch, "open": create, "fill": fill}[told.what]
    with closing(Database.open(told.url, Path())) as database:
        store = KeyStore(database)
        try:
            for _ in islice(count(), told.times):
                tell(write(store))
        except StoreError as failure:
            sys.exit(str(failure))


if __name__ == "__main__":
    main()
