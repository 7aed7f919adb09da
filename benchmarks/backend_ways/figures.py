"""What is made of times and outputs: medians, errors, and whether any way would be worth a change."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WORTH = 0.15  # of a frame's processor time, that a way must save to be worth its dependency
CROWDED = 1.6  # times the processor time of a frame on the fewest threads: more threads only wait for one another
NEAR_DB = 45.0  # PSNR of a picture against float32's: less would be seen in figures of quality
NEAR_SHARE = 0.02  # of what the latents or levels are, by which they may be off

Times = dict[str, float]


@dataclass(frozen=True, slots=True)
class Saving:
    """What a frame would cost one way instead of as shipped, at one number of threads."""

    cpu_ms: float  # of processor time, that a frame would save; below 0 it would cost more
    cpu_share: float  # of the frame's processor time
    wall_ms: float  # the same by the clock, of its stages one after another
    near: bool  # whether its output is as good as float32's


def medians(rounds: Sequence[Times]) -> Times:
    """Each figure's median over the rounds, to three digits after the point. Raises ``ValueError`` without a round."""
    if not rounds:
        raise ValueError("medians of no rounds")
    return {name: round(statistics.median(times[name] for times in rounds), 3) for name in rounds[0]}


def relative_error(made: Sequence[npt.NDArray[np.float32]], right: Sequence[npt.NDArray[np.float32]]) -> float:
    """Root mean square of the difference over that of ``right``. Raises ``ValueError`` for other shapes."""
    if [x.shape for x in made] != [x.shape for x in right]:
        raise ValueError(f"shapes {[x.shape for x in made]} are not {[x.shape for x in right]}")
    wrong = sum(float(np.square(a.astype(np.float64) - b).sum()) for a, b in zip(made, right, strict=True))
    return math.sqrt(wrong / sum(float(np.square(b.astype(np.float64)).sum()) for b in right))


def psnr_db(made: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> float:
    """Of two pictures; infinite where they are the same."""
    wrong = float(np.square(made.astype(np.float64) - right).mean())
    return math.inf if wrong == 0 else 10 * math.log10(255**2 / wrong)


def is_near(network: str, error: Times) -> bool:
    """Whether an output is near enough to float32's. A number that is none is not."""
    if network == "decoder":
        return error["psnr_db"] >= NEAR_DB
    return error["relative_error"] <= NEAR_SHARE


def saving(
    ways: Mapping[str, str], times: Mapping[str, Mapping[str, Times]], errors: Mapping[str, Mapping[str, Times]],
    shipped: Mapping[str, str], counts: Mapping[str, int], frame_cpu_ms: float,
) -> Saving:  # fmt: skip
    """What a frame saves whose networks run in ``ways`` instead of those that are ``shipped``.

    ``ways`` and ``shipped`` say a way by network, ``counts`` how often a frame runs it; ``times`` and ``errors`` are by
    way and network.
    """
    spared: Times = {"ms": 0.0, "cpu_ms": 0.0}
    for network, way in ways.items():
        for figure in spared:
            less = times[shipped[network]][network][figure] - times[way][network][figure]
            spared[figure] += counts[network] * less
    near = all(is_near(network, errors[way][network]) for network, way in ways.items())
    cpu_ms = round(spared["cpu_ms"], 3)
    return Saving(cpu_ms, round(spared["cpu_ms"] / frame_cpu_ms, 4), round(spared["ms"], 3), near)


def best_mix(
    times: Mapping[str, Mapping[str, Times]], errors: Mapping[str, Mapping[str, Times]], networks: Sequence[str]
) -> dict[str, str]:
    """By network the way that takes the least processor time, of those that are near float32."""
    mix = {}
    for network in networks:
        able = [way for way in times if network in times[way] and is_near(network, errors[way][network])]
        if able:
            mix[network] = min(able, key=lambda way: times[way][network]["cpu_ms"])
    return mix


def is_crowded(frame: Times, fewest: Times) -> bool:
    """Whether a frame's threads found no free cores, and spun: then their times say nothing of a quiet machine.

    ``fewest`` is the same frame on the fewest threads that were measured.
    """
    return frame["cpu_ms"] > CROWDED * fewest["cpu_ms"]


def winners(savings: Mapping[str, Saving]) -> list[str]:
    """The ways that are near float32 and save more than ``WORTH`` of a frame, the best first."""
    worth = [way for way, found in savings.items() if found.near and found.cpu_share > WORTH]
    return sorted(worth, key=lambda way: -savings[way].cpu_share)
