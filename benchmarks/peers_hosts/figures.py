"""What is made of the moments at which frames came: rates, percentiles, misses, and ours against the best peer."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arrivals import percentile

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """One turn as its client saw it, seconds of one clock."""

    sent: float
    arrivals: tuple[float, ...]  # at least one

    @property
    def first_frame(self) -> float:
        """Seconds from sending the turn to having its first frame."""
        return self.arrivals[0] - self.sent

    @property
    def gaps(self) -> list[float]:
        """Seconds between one frame and the next."""
        return [later - earlier for earlier, later in itertools.pairwise(self.arrivals)]


def misses(turn: TurnTimes, fps: float, latency: float) -> int:
    """Frames of a paced turn that came late.

    Frame k is due ``latency`` seconds and a frame time after its state's time, which is k / fps after the turn was
    sent. As with whoever watches: a frame that comes late puts off all that are due after it, so that one stall is one
    miss.
    """
    late, put_off = 0, 0.0
    for position, arrival in enumerate(turn.arrivals):
        over = arrival - (turn.sent + (position + 1) / fps + latency + put_off)
        if over > 0:
            late += 1
            put_off += over
    return late


def free_figures(turns: Sequence[TurnTimes]) -> Figures:
    """Of turns that went on at once, as fast as there was room: all frames over all the time, and milliseconds."""
    gaps = [gap for turn in turns for gap in turn.gaps]
    whole = max(turn.arrivals[-1] for turn in turns) - min(turn.sent for turn in turns)
    return {
        "fps": sum(len(turn.arrivals) for turn in turns) / whole,
        "gap_p50_ms": 1000 * percentile(gaps, 0.5),
        "gap_p99_ms": 1000 * percentile(gaps, 0.99),
        "later_turn_first_frame_ms": 1000 * statistics.median(turn.first_frame for turn in turns),
    }


def paced_figures(turns: Sequence[TurnTimes], fps: float, latency: float, refused: int) -> Figures:
    """Of turns whose states come at ``fps``; ``refused`` sessions were not taken in."""
    frames = sum(len(turn.arrivals) for turn in turns)
    gaps = [gap for turn in turns for gap in turn.gaps]
    late = sum(misses(turn, fps, latency) for turn in turns)
    return {
        "paced_frames": frames,
        "paced_misses": late,
        "paced_miss_share": late / frames if frames else 0.0,
        "paced_gap_p99_ms": 1000 * percentile(gaps, 0.99) if gaps else 0.0,
        "paced_refused": refused,
    }


def medians(rounds: Sequence[Figures]) -> Figures:
    """Each figure's median over the rounds that have it, to three digits after the point."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    return {name: round(statistics.median(f[name] for f in rounds if name in f), 3) for name in names}


def best_peer(peers: Mapping[str, Figures], figure: str, *, highest: bool) -> str | None:
    """The peer that does best in a figure; None if none has it."""
    having = [name for name in peers if figure in peers[name]]
    if not having:
        return None
    return (max if highest else min)(having, key=lambda name: peers[name][figure])


RATIOS = {
    "best_peer_fps_ratio": ("fps", True),
    "best_peer_p99_ratio": ("gap_p99_ms", False),
    "best_peer_later_turn_ratio": ("later_turn_first_frame_ms", False),
}
"""By name: the figure, and whether more of it is better."""


def ratios(ours: Figures, peers: Mapping[str, Figures]) -> dict[str, float | str | None]:
    """Ours over the best peer's, for each of ``RATIOS``, and which peer that was. None where there is no peer."""
    found: dict[str, float | str | None] = {}
    for name, (figure, highest) in RATIOS.items():
        best = best_peer(peers, figure, highest=highest)
        found[name] = None if best is None else round(ours[figure] / peers[best][figure], 3)
        found[f"{name}_peer"] = best
    return found
