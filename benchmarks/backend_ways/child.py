"""One way in a process of its own: a line of JSON in, passes run, a line of JSON out. Begun by ``processes``."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from backend_ways.known import WAYS


def timed(way: Any, network: str, threads: int, passes: int) -> dict[str, float]:
    """Milliseconds a pass, by the clock and of this process's processor time."""
    way.run(network, threads)  # brings caches and threads back from whatever went on between
    begun, cpu_begun = time.perf_counter(), time.process_time()
    for _ in range(passes):
        way.run(network, threads)
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
    return {"ms": 1000 * wall / passes, "cpu_ms": 1000 * cpu / passes}


def main() -> int:
    """Serves until its input ends."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    asked = json.loads(sys.argv[1])
    folder, name = Path(asked["folder"]), asked["way"]
    begun = time.monotonic()
    module = importlib.import_module(f"backend_ways.{WAYS[name].module}")
    way = module.Way(name, folder, Path(asked["model"]) if asked["model"] else None, asked["threads"])
    for network in way.made:
        arrays = way.arrays(way.run(network, asked["threads"][0]))
        np.savez(folder / f"made-{name}-{network}.npz", *arrays)
    answer({"networks": way.made, "seconds": time.monotonic() - begun})
    for line in sys.stdin:
        answer(timed(way, **json.loads(line)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
