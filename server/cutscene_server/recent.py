"""What a server did in the last seconds: frame rates, latencies by stage, deadlines, loop lag. Pure: times are told it.

Everything is kept in windows of a fixed number of entries, so that a server that has run for a year holds what one that
has run for a minute does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

STAGES = ("queued", "greybox", "denoise", "decode", "store", "deliver")
"""Of a frame, in their order. ``cutscene_frame_stage_seconds`` and the contract's ``StageFigures`` name them."""

WINDOW_US = 10_000_000  # how far back figures of frames look
MOST_FRAMES = 1024  # of all sessions, that the figures are made from: on a fast server they look back less far
MOST_SESSION_FRAMES = 256
MOST_LAGS = 2400  # a minute of them


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The middle and the slow end of some times, microseconds; zero if there were none."""

    p50_us: int = 0
    p99_us: int = 0


def percentiles(values: Iterable[int]) -> Percentiles:
    """By nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return Percentiles()
    last = len(ordered) - 1
    return Percentiles(ordered[round(0.5 * last)], ordered[round(0.99 * last)])


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """One frame's way, microseconds. ``denoise`` and what comes before are 0 for a frame that is shown again."""

    ready_us: int  # of the machine's monotonic clock
    queued_us: int
    greybox_us: int
    denoise_us: int
    decode_us: int
    store_us: int
    whole_us: int  # from its being due to be drawn to its being ready


@dataclass(frozen=True, slots=True)
class SessionRecent:
    """One session's last seconds."""

    frames_per_second: float = 0.0
    latency: Percentiles = Percentiles()
    late_frames: int = 0  # since the session came into memory
    tier: str = ""  # of its last frame


@dataclass(slots=True)
class _Followed:
    frames: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MOST_SESSION_FRAMES))  # ready, whole
    late: int = 0
    tier: str = ""


class Recent:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._frames: deque[tuple[FrameTimes, str]] = deque(maxlen=MOST_FRAMES)  # with its tier
        self._deliveries: deque[tuple[int, int]] = deque(maxlen=MOST_FRAMES)  # when, and how long it took
        self._lags: deque[int] = deque(maxlen=MOST_LAGS)
        self._followed: dict[int, _Followed] = {}  # by session key

    def add_frame(self, key: int, tier: str, times: FrameTimes, *, late: bool = False) -> None:
        """Notes a frame of session ``key``. ``late``: it missed its deadline, which is the session's to say."""
        followed = self._followed.get(key)
        if followed is None:
            followed = self._followed[key] = _Followed()
        followed.frames.append((times.ready_us, times.whole_us))
        followed.late += late
        followed.tier = tier
        self._frames.append((times, tier))

    def add_delivery(self, now_us: int, took_us: int) -> None:
        self._deliveries.append((now_us, took_us))

    def add_lag(self, lag_us: int) -> None:
        self._lags.append(lag_us)

    def forget(self, key: int) -> None:
        """The session left memory."""
        self._followed.pop(key, None)

    # ---- what can be asked ------------------------------------------------------------------------------------------

    @property
    def lag(self) -> Percentiles:
        """Of the event loop, over the last minute."""
        return percentiles(self._lags)

    def frames_per_second(self, now_us: int) -> float:
        """Of all sessions together."""
        return _rate([times.ready_us for times, _ in self._frames], now_us)

    def latency(self, now_us: int) -> Percentiles:
        """From a frame's being due to be drawn to its being ready."""
        return percentiles(times.whole_us for times, _ in self._frames if times.ready_us >= now_us - WINDOW_US)

    def tiers(self, now_us: int) -> Counter[str]:
        """Frames of the window by tier."""
        return Counter(tier for times, tier in self._frames if times.ready_us >= now_us - WINDOW_US)

    def stages(self, now_us: int) -> dict[str, Percentiles]:
        """What each stage took, by its name."""
        start_us = now_us - WINDOW_US
        frames = [times for times, _ in self._frames if times.ready_us >= start_us]
        found = {stage: percentiles(getattr(times, f"{stage}_us") for times in frames) for stage in STAGES[:-1]}
        found["deliver"] = percentiles(took for when, took in self._deliveries if when >= start_us)
        return found

    def session(self, key: int, now_us: int) -> SessionRecent:
        """One session's figures; zeros for one that has drawn nothing yet."""
        followed = self._followed.get(key)
        if followed is None:
            return SessionRecent()
        frames = followed.frames
        return SessionRecent(
            _rate([ready for ready, _ in frames], now_us),
            percentiles(whole for ready, whole in frames if ready >= now_us - WINDOW_US),
            followed.late,
            followed.tier,
        )

    def last_ready_us(self, key: int) -> int:
        """When the session's last frame was ready; 0 if it has drawn nothing yet."""
        followed = self._followed.get(key)
        return followed.frames[-1][0] if followed is not None else 0


def _rate(times_us: Sequence[int], now_us: int) -> float:
    """Events a second over the window, or since the first event that is known if that is less."""
    if not times_us:
        return 0.0
    start_us = now_us - WINDOW_US
    if times_us[0] < start_us:
        return sum(time_us >= start_us for time_us in times_us) * 1e6 / WINDOW_US
    return (len(times_us) - 1) * 1e6 / max(1, now_us - times_us[0])
