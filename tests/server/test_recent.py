"""Windows and deadlines, in time that is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cutscene_server.recent import (
    MOST_FRAMES,
    STAGES,
    WINDOW_US,
    Cadence,
    FrameTimes,
    Percentiles,
    Recent,
    percentiles,
)

FRAME_US = 50_000  # at 20 frames/s


def times(ready_us: int, whole_us: int = 30_000) -> FrameTimes:
    return FrameTimes(ready_us, 1_000, 2_000, 20_000, 5_000, 2_000, whole_us)


def test_frames_that_keep_up_are_never_late_and_may_run_ahead() -> None:
    cadence = Cadence(20)
    assert not any(cadence.late_us(0, ready) for ready in range(0, 4_000_000, FRAME_US))
    ahead = Cadence(20)
    assert not any(ahead.late_us(0, ready) for ready in range(0, 400_000, 10_000))
    assert ahead.late_us(0, 1_000_000) == 0.0, "40 frames were there ahead of their time"


def test_one_stall_is_one_late_frame() -> None:
    cadence = Cadence(20)
    late = [cadence.late_us(0, ready) for ready in (0, 50_000, 170_000, 220_000, 270_000)]
    assert late == [0, 0, 70_000, 0, 0]


def test_a_server_too_slow_for_the_cadence_is_late_with_every_frame_but_the_first() -> None:
    cadence = Cadence(20)
    assert [cadence.late_us(0, ready) > 0 for ready in range(0, 600_000, 60_000)] == [False] + 9 * [True]


def test_what_the_client_kept_waiting_has_no_deadline() -> None:
    cadence = Cadence(20)
    cadence.late_us(0, 0)
    assert cadence.late_us(due_us=5_000_000, ready_us=5_100_000) == 0.0, "its turn came seconds after the one before"
    assert cadence.late_us(due_us=5_000_000, ready_us=5_160_000) == 10_000


@given(gaps=st.lists(st.integers(0, 200_000), max_size=50), fps=st.floats(1, 60))
def test_lateness_is_what_a_viewer_waits(gaps: list[int], fps: float) -> None:
    """The model of it: a viewer who shows each frame at the later of its turn and its coming."""
    cadence, ready = Cadence(fps), 0
    shown: float | None = None
    for gap in gaps:
        ready += gap
        wanted = ready if shown is None else shown + 1e6 / fps
        assert cadence.late_us(0, ready) == max(0.0, ready - wanted)
        shown = max(wanted, ready)


def test_figures_of_the_window_and_of_each_session() -> None:
    recent = Recent()
    assert recent.frames_per_second(0) == 0.0
    assert recent.stages(0) == dict.fromkeys(STAGES, Percentiles())
    for number in range(41):
        recent.add_frame(7, 20.0, "draft" if number < 20 else "standard", times(number * FRAME_US))
        recent.add_delivery(number * FRAME_US, 300)
    now = 40 * FRAME_US
    assert recent.frames_per_second(now) == 20.0
    assert recent.tiers(now) == {"draft": 20, "standard": 21}
    assert recent.stages(now)["denoise"] == Percentiles(20_000, 20_000)
    assert recent.stages(now)["deliver"] == Percentiles(300, 300)
    figures = recent.session(7, now)
    assert (figures.frames_per_second, figures.latency, figures.late_frames) == (20.0, Percentiles(30_000, 30_000), 0)
    assert recent.session(8, now).frames_per_second == 0.0


def test_what_is_older_than_the_window_counts_no_more() -> None:
    recent = Recent()
    for number in range(10):
        recent.add_frame(1, 20.0, "draft", times(number * FRAME_US))
    later = 9 * FRAME_US + WINDOW_US - 5 * FRAME_US
    assert recent.frames_per_second(later) == 0.6, "six frames of the ten, in ten seconds"
    assert recent.tiers(later) == {"draft": 6}
    assert recent.session(1, later + WINDOW_US).latency == Percentiles()


def test_nothing_grows() -> None:
    recent = Recent()
    for number in range(3 * MOST_FRAMES):
        recent.add_frame(number, 20.0, "draft", times(number * 1000))
        recent.add_lag(number)
        recent.forget(number)
    assert recent.tiers(3 * MOST_FRAMES * 1000).total() == MOST_FRAMES
    assert recent.session(3 * MOST_FRAMES - 1, 3 * MOST_FRAMES * 1000).frames_per_second == 0.0
    assert abs(recent.frames_per_second(3 * MOST_FRAMES * 1000) - 1000) < 1.0


def test_percentiles_are_values_that_were_there() -> None:
    assert percentiles([]) == Percentiles(0, 0)
    assert percentiles([5]) == Percentiles(5, 5)
    assert percentiles(range(101)) == Percentiles(50, 99)
