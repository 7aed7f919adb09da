"""The figures of ``benchmarks/peers.py`` as a person reads them."""

from __future__ import annotations

import argparse

from peers_hosts.figures import Figures
from peers_hosts.measuring import OPENING_FRAMES, OURS
from peers_hosts.process import NEEDS


def print_table(figures: dict[str, object], options: argparse.Namespace) -> None:
    """One row a host and count."""
    print(f"\n{'host':<9} {'sessions':>8} {'frames/s':>9} {'gap p50':>8} {'gap p99':>8} {'later turn':>11} "
          f"{'paced late':>11}")  # fmt: skip
    names = [name for name in (OURS, *NEEDS) if name in figures]
    for count in map(str, options.sessions):
        for name in names:
            row = figures[name][count]  # type: ignore[index]
            late = f"{row['paced_misses']:.0f}/{row['paced_frames']:.0f}"
            late += f" -{row['paced_refused']:.0f}" if row["paced_refused"] else ""
            print(f"{name:<9} {count:>8} {row['fps']:>9.2f} {row['gap_p50_ms']:>8.1f} {row['gap_p99_ms']:>8.1f} "
                  f"{row['later_turn_first_frame_ms']:>11.1f} {late:>11}")  # fmt: skip
    print(f"\none session alone, first frame of a later turn after {OPENING_FRAMES} frames (ms):")
    for name in names:
        host: Figures = figures[name]  # type: ignore[assignment]
        redraw = f", {host['later_turn_redraw_ms']:.1f} by redraw" if "later_turn_redraw_ms" in host else ""
        print(f"  {name:<9} {host['later_turn_ms']:.1f}{redraw}")
    for count, found in figures["ratios"].items():  # type: ignore[attr-defined]
        if found["best_peer_fps_ratio"] is not None:
            print(f"{count} sessions, ours over the best peer: {found['best_peer_fps_ratio']} of the frames/s of "
                  f"{found['best_peer_fps_ratio_peer']}, {found['best_peer_p99_ratio']} of the p99 of "
                  f"{found['best_peer_p99_ratio_peer']}, {found['best_peer_later_turn_ratio']} of a later turn's "
                  f"first frame of {found['best_peer_later_turn_ratio_peer']}")  # fmt: skip
