"""What Linux tells of processes in /proc."""

from __future__ import annotations

import contextlib
from pathlib import Path


def children_of(process_id: int) -> list[int]:
    """A process's children; the kernel lists them by the thread that started them."""
    found: list[int] = []
    for listed in Path(f"/proc/{process_id}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in listed.read_text().split()]
    return found


def text_of(process_id: int, name: str) -> str:
    """A file of a process's in /proc; empty if the process has ended."""
    try:
        return Path(f"/proc/{process_id}/{name}").read_text()
    except OSError:  # it has just ended
        return ""


def is_inference(process_id: int) -> bool:
    """Whether it is a server's inference process: the one that was spawned with an interpreter of its own."""
    return "multiprocessing.spawn" in text_of(process_id, "cmdline")
