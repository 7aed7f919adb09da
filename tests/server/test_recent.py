"""Windows, in time that is told."""

from __future__ import annotations

from cutscene_server.recent import (
    MOST_FRAMES,
    STAGES,
    WINDOW_US,
    FrameTimes,
    Percentiles,
    Recent,
    percentiles,
)

FRAME_US = 50_000  # at 20 frames/s


def times(ready_us: int, whole_us: int = 30_000) -> FrameTimes:
    return FrameTimes(ready_us, 1_000, 2_000, 20_000, 5_000, 2_000, whole_us)


def test_figures_of_the_window_and_of_each_session() -> None:
    recent = Recent()
    assert recent.frames_per_second(0) == 0.0
    assert recent.stages(0) == dict.fromkeys(STAGES, Percentiles())
    for number in range(41):
        recent.add_frame(7, "draft" if number < 20 else "standard", times(number * FRAME_US), late=number % 10 == 3)
        recent.add_delivery(number * FRAME_US, 300)
    now = 40 * FRAME_US
    assert recent.frames_per_second(now) == 20.0
    assert recent.tiers(now) == {"draft": 20, "standard": 21}
    assert recent.stages(now)["denoise"] == Percentiles(20_000, 20_000)
    assert recent.stages(now)["deliver"] == Percentiles(300, 300)
    figures = recent.session(7, now)
    assert (figures.frames_per_second, figures.latency, figures.late_frames) == (20.0, Percentiles(30_000, 30_000), 4)
    assert recent.session(8, now).frames_per_second == 0.0


def test_what_is_older_than_the_window_counts_no_more() -> None:
    recent = Recent()
    for number in range(10):
        recent.add_frame(1, "draft", times(number * FRAME_US))
    later = 9 * FRAME_US + WINDOW_US - 5 * FRAME_US
    assert recent.frames_per_second(later) == 0.6, "six frames of the ten, in ten seconds"
    assert recent.tiers(later) == {"draft": 6}
    assert recent.session(1, later + WINDOW_US).latency == Percentiles()


def test_nothing_grows() -> None:
    recent = Recent()
    for number in range(3 * MOST_FRAMES):
        recent.add_frame(number, "draft", times(number * 1000))
        recent.add_lag(number)
        recent.forget(number)
    assert recent.tiers(3 * MOST_FRAMES * 1000).total() == MOST_FRAMES
    assert recent.session(3 * MOST_FRAMES - 1, 3 * MOST_FRAMES * 1000).frames_per_second == 0.0
    assert abs(recent.frames_per_second(3 * MOST_FRAMES * 1000) - 1000) < 1.0


def test_percentiles_are_values_that_were_there() -> None:
    assert percentiles([]) == Percentiles(0, 0)
    assert percentiles([5]) == Percentiles(5, 5)
    assert percentiles(range(101)) == Percentiles(50, 99)
