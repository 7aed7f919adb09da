"""How steady a performance is: flicker from frame to frame, and drift over a long session.

**Flicker** compares changes, not pictures: how far the change from one frame to the next is from the reference's own
change, over how much the reference itself changes. It is dtSSD (Erofeev et al., "Perceptually Motivated Benchmark for
Video Matting", BMVC 2015) with absolute differences, set in proportion to the reference. 0 is perfect; a constant error
costs nothing; a frozen picture gives exactly 1; above 1 there is more false change than there was true change.

**Drift** compares a session with itself: quality at a late place less quality at an early one, both showing the same
moment of the same shot, so that nothing but what the session remembers can differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class FrameChange:
    """From one frame to the next, means over pixels and channels of pictures in 0 to 1."""

    false: float  # |change of the result - change of the reference|
    true: float  # |change of the reference|


def frame_change(result: Tensor, before: Tensor, reference: Tensor, reference_before: Tensor) -> FrameChange:
    """All pictures (3, H, W) in 0 to 1."""
    true = reference - reference_before
    false = (result - before) - true
    return FrameChange(float(false.abs().mean()), float(true.abs().mean()))


def flicker_ratio(changes: Sequence[FrameChange]) -> float:
    """False change over true change, both summed first, so that frames in which nothing moves weigh little.

    NaN where there are no changes, or the reference stood still throughout.
    """
    true = sum(change.true for change in changes)
    return sum(change.false for change in changes) / true if true > 0 else float("nan")


@dataclass(frozen=True, slots=True)
class Places:
    """Where a session of one uncut shot is compared with itself.

    The shot is played forwards and backwards, over and over: no jump, no cut, and after every ``period`` frames the
    very same states. ``late - early`` is a whole number of periods.
    """

    early: int  # frames from the session's start
    late: int
    period: int  # frames
    reach: int  # a place is the mean of this many frames before it, itself, and as many after

    def source(self, frame: int) -> int:
        """Which frame of the shot is shown at a frame of the session."""
        phase = frame % self.period
        return min(phase, self.period - 1 - phase)

    def around(self, place: int) -> range:
        """The frames whose mean stands for a place."""
        return range(place - self.reach, place + self.reach + 1)


LEAST_LATE = 8
EARLY, REACH, LONGEST_PERIOD = 50, 12, 145  # 145 frames are six seconds, and 1,450 = 1,500 - 50 is ten times that


def choose_places(shot_frames: int, late: int) -> Places:
    """Places in a session that plays a shot of ``shot_frames`` frames up to about ``late``, never beyond it."""
    if late < LEAST_LATE:
        raise ValueError(f"drift over {late} frames says nothing: take {LEAST_LATE} or more")
    early = min(EARLY, late // 4)
    longest = max(1, min(2 * shot_frames, LONGEST_PERIOD, late - early))
    turns = -(-(late - early) // longest)
    period = (late - early) // turns
    return Places(early, early + turns * period, period, min(REACH, early))


def drift_db(psnr_db: Mapping[int, float], places: Places) -> float:
    """PSNR lost from the early place to the late one, in dB; ``psnr_db`` is by frame of the session."""

    def mean(place: int) -> float:
        window = places.around(place)
        return sum(psnr_db[frame] for frame in window) / len(window)

    return mean(places.early) - mean(places.late)
