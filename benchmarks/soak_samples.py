"""What a server's processes hold, sampled from outside: /proc and the exported metrics."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from proc_files import children_of, is_inference, text_of

SHARED_MEMORY = "/dev/shm/psm_"  # noqa: S108 - the names that Python gives blocks of shared memory
MB = 1024 * 1024

Row = dict[str, float]
"""One sample by series. ``at`` is its time in seconds since the first one."""

KINDS = {"front": "front_rss_mb", "inference": "inference_own_mb"}
"""The processes, and what of each is not to grow: of the inference process all but the pool of blocks, which fills up
to its budget and stays there.
"""


@dataclass(slots=True)
class Sampler:
    """Looks at one server, again and again."""

    process_id: int
    metrics_address: str
    rows: list[Row] = field(default_factory=list)
    segments_seen: set[Path] = field(default_factory=set)  # every named block that any of its processes has mapped
    _began: float = field(default_factory=time.monotonic)

    def sample(self) -> Row:
        """Takes one sample and keeps it. Blocks for some milliseconds."""
        row: Row = {"at": time.monotonic() - self._began}
        children = children_of(self.process_id)
        inference = [child for child in children if is_inference(child)]
        for kind, members in (("front", [self.process_id]), ("inference", inference)):
            for name, measure in MEASURES.items():
                row[f"{kind}_{name}"] = sum(measure(member) for member in members)
        row["children"] = len(children)
        mapped = set().union(*(segments_of(member) for member in (self.process_id, *inference)))
        row["segments"] = len(mapped)
        self.segments_seen |= {path for path in mapped if "deleted" not in str(path)}
        row |= self._metrics()
        row["inference_own_mb"] = row["inference_rss_mb"] - row["blocks_mb"]
        self.rows.append(row)
        return row

    def settled(self, count: int, pause_s: float = 0.5) -> Row:
        """The least of a few samples, by series: what is held with nothing going on."""
        rows = []
        for _ in range(count):
            rows.append(self.sample())
            time.sleep(pause_s)
        return {name: min(row[name] for row in rows) for name in rows[0]}

    def segments_left(self) -> int:
        """Blocks that still have a name: none, once the server has stopped."""
        return sum(path.exists() for path in self.segments_seen)

    def _metrics(self) -> Row:
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        sums: dict[str, float] = {}
        for line in text.splitlines():
            if line.startswith("cutscene_"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return {series: sums[metric] * factor for series, (metric, factor) in METRICS.items()}


METRICS = {
    "sessions": ("cutscene_sessions", 1.0),
    "attached": ("cutscene_attached_sessions", 1.0),
    "queued": ("cutscene_waiting_sessions", 1.0),
    "turns_waiting": ("cutscene_waiting_turns", 1.0),
    "blocks": ("cutscene_cache_held_blocks", 1.0),
    "used_blocks": ("cutscene_cache_used_blocks", 1.0),
    "blocks_mb": ("cutscene_cache_held_bytes", 1 / MB),
    "frames": ("cutscene_frames_total", 1.0),
    "disk_mb": ("cutscene_disk_bytes", 1 / MB),
}
"""Series by name: the metric, summed over its labels, and a factor."""


def segments_of(process_id: int) -> set[Path]:
    """The blocks of shared memory that a process has mapped, those whose names are gone included."""
    lines = text_of(process_id, "maps").splitlines()
    return {Path(line.partition(SHARED_MEMORY)[1] + line.partition(SHARED_MEMORY)[2]) for line in lines
            if SHARED_MEMORY in line}  # fmt: skip


def _field(process_id: int, file: str, name: str) -> float:
    return sum(float(line.split()[1]) for line in text_of(process_id, file).splitlines() if line.startswith(f"{name}:"))


def _handles(process_id: int) -> float:
    try:
        return len(list(Path(f"/proc/{process_id}/fd").iterdir()))
    except OSError:
        return 0


MEASURES = {
    "rss_mb": lambda process_id: _field(process_id, "status", "VmRSS") / 1024,
    "pss_mb": lambda process_id: _field(process_id, "smaps_rollup", "Pss") / 1024,
    "threads": lambda process_id: _field(process_id, "status", "Threads"),
    "handles": _handles,
}
