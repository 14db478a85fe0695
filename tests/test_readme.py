"""The README's lines for a shell do what stands beside them, pasted as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import ALL_BLOCKS, ROOT, Block, as_ids

EXPORTS = [
    block
    for block in ALL_BLOCKS
    if block.page == ROOT / "README.md" and re.match("export FORWARDAUTH_TOKEN=[a-z]", block.text)
]


def test_options_give_the_token_in_a_shell() -> None:
    assert len(EXPORTS) == 2


@as_ids(EXPORTS)
def test_the_variables_reach_the_next_command(block: Block, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FORWARDAUTH_")}
    done = subprocess.run(
        ["sh", "-c", f'{block.text}\n"$0" -m forwardauth check', sys.executable],
        env=clean | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^\S+ +\* +\* +/\* +\S", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("folder", ["traefik", "coolify"])
def test_what_a_compose_file_must_be_given_is_named_above_it(folder: str) -> None:
    head, _, rest = (ROOT / "deploy" / folder / "compose.yml").read_text().partition("\nservices:")
    needed = set(re.findall(r"\$\{([A-Z_]+):\?", rest)) | ({"LLM_IMAGE"} if folder == "traefik" else set())
    assert [name for name in needed if name not in head] == []
