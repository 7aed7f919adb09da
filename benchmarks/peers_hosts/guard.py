"""Runs a host, and ends whatever it has started once it has ended, or its own standard input has.

    python -m peers_hosts.guard COMMAND...

A framework's processes outlive it when it crashes: they are in sessions of their own, and the kernel gives them to
somebody else. Here that is the guard (Linux; elsewhere the host alone is ended), so that all of them can be found. The
benchmark holds the other end of the standard input, which is closed however the benchmark ends. The guard's exit code
is the host's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

from proc_files import children_of, text_of

STOP_S = 15.0  # that a host has to stop in order, and its processes to end after it
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2): those below whose parent ends become this process's children


def main() -> int:
    """Runs the command of the command line. Returns its exit code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    host = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def wait_for_the_end() -> None:
        os.read(sys.stdin.fileno(), 1)
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    while host.poll() is None and not stop.wait(0.1):
        pass
    if host.poll() is None:
        host.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            host.wait(STOP_S)
        host.kill()
        host.wait()
    end_descendants()
    return host.returncode if host.returncode >= 0 else 128 - host.returncode


def end_descendants() -> None:
    """Kills all below this process, and what they start meanwhile; after ``STOP_S`` says which do not end."""
    deadline = time.monotonic() + STOP_S
    while left := descendants(os.getpid()):
        for process_id in left:
            with contextlib.suppress(OSError):
                os.kill(process_id, signal.SIGKILL)
        if time.monotonic() > deadline:
            print(f"processes that do not end: {sorted(left)}", file=sys.stderr)
            return
        time.sleep(0.05)


def descendants(process_id: int) -> set[int]:
    """The living processes below one (Linux; elsewhere none are found)."""
    found: set[int] = set()
    waiting = [process_id]
    while waiting:
        for child in children_of(waiting.pop()):
            if child not in found and _lives(child):
                found.add(child)
                waiting.append(child)
    return found


def _lives(process_id: int) -> bool:
    state = text_of(process_id, "stat").rpartition(")")[2].split()
    return bool(state) and state[0] != "Z"


if __name__ == "__main__":
    sys.exit(main())
