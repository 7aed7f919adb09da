"""What the pages tell people to type works: blocks fenced as ``sh``, ``python`` or ``yaml`` and marked ``runnable``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cutscene_client.client import DEFAULT_ADDRESS
from cutscene_client.expand import expand
from cutscene_client.script import read_script

METRICS_ADDRESS = "127.0.0.1:9464"  # as docs/operations.md has it

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(sh|python|yaml) runnable\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One runnable block of one page."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}-{self.language}"


def blocks() -> list[Block]:
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for number, match in enumerate(FENCE.finditer(page.read_text(encoding="utf-8"))):
            found.append(Block(page.name, number, match[1], match[2]))
    return found


BLOCKS = blocks()


def test_there_is_something_to_run() -> None:
    assert {block.language for block in BLOCKS} == {"sh", "python", "yaml"}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_block_runs(block: Block, server_address: str, metrics_address: str, tmp_path: Path) -> None:
    if block.language == "yaml":
        expansion = expand(read_script(block.text, block.page))
        assert not expansion.warnings
        return
    text = block.text.replace(DEFAULT_ADDRESS, server_address).replace(METRICS_ADDRESS, metrics_address)
    command = [sys.executable, "-c", text] if block.language == "python" else ["sh", "-e", "-c", text]
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": tools, "CUTSCENE_SERVER": server_address, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
