"""The server's processes as Linux sees them: their memory, and whose processor time it is."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from proc_files import children_of, is_inference, text_of


class Processes:
    """The server's processes as Linux sees them, and this one."""

    def __init__(self) -> None:
        (self._server,) = [
            child for child in children_of(os.getpid()) if "cutscene_server" in text_of(child, "cmdline")
        ]
        self._inference = [child for child in children_of(self._server) if is_inference(child)]

    def memory_mb(self) -> float:
        """Resident, of server and inference process."""
        pages = [int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in self._all]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def server_s(self) -> float:
        """Processor time of the server and its inference process so far."""
        return sum(map(process_s, self._all))

    def cpu_s(self) -> dict[str, float]:
        """Processor time so far."""
        loop = _thread_s(self._server, self._server)
        return {
            "event loop": loop,
            "server's other threads": process_s(self._server) - loop,
            "inference": sum(map(process_s, self._inference)),
            "clients": process_s(os.getpid()),
        }

    @property
    def _all(self) -> list[int]:
        return [self._server, *self._inference]


def _thread_s(process: int, thread: int) -> float:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process}/task/{thread}/schedstat").read_text().split()[0]) / 1e9
    return 0.0


def process_s(process: int) -> float:
    """Processor time of all its threads so far, user's and system's, seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
