"""One session of two thousand frames: does quality drift, and do actors keep the colours that were said once at open?

The session first plays one shot without a cut, forwards and backwards, to the late place of ``steadiness.Places``: each
frame is drawn from the memory of the frames before, so whatever error a frame leaves could grow. Then it cuts through
the performance's other shots and back to the first, at whose early place the actors' colours are looked at once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from cutscene_model.engine import Pixels
from cutscene_model.pipeline import Pipeline
from cutscene_model.scene import Stage
from cutscene_model.training.director import Performance, Shot
from cutscene_model.training.evaluation import as_tensor, held_out_performances
from cutscene_model.training.identity import ActorColor, color_errors
from cutscene_model.training.metrics import psnr
from cutscene_model.training.regions import Regions, regions_of
from cutscene_model.training.stage import StageRenderer
from cutscene_model.training.steadiness import Places, choose_places, drift_db
from cutscene_model.transformer import TransformerEngine

EVERY = 10  # frames between those that are scored outside of the places

UNTINTED = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Plan:
    """What a long session plays."""

    shot: Shot  # that is played without a cut
    places: Places
    stretches: tuple[tuple[int, ...], ...]  # frames of the performance; there is a cut between two stretches
    last: int  # frame of the session: the early place's moment once more, after all cuts

    @property
    def cuts(self) -> tuple[int, ...]:
        """The frames of the session that follow a cut."""
        starts, start = [], 0
        for stretch in self.stretches[:-1]:
            start += len(stretch)
            starts.append(start)
        return tuple(starts)

    @property
    def frames(self) -> int:
        """How many there are."""
        return sum(len(stretch) for stretch in self.stretches)

    def around(self, place: int) -> range:
        """The frames of the session that stand for a place: early, late or last."""
        return self.places.around(place)

    def scored(self) -> set[int]:
        """The frames of the session that are compared with the reference."""
        places = (self.places.early, self.places.late, self.last)
        return {*range(0, self.frames, EVERY), *(frame for place in places for frame in self.around(place))}


def plan(performance: Performance, late: int) -> Plan:
    """A session of ``late`` frames and a third more, on the longest shot that is no close-up."""
    wider = [shot for shot in performance.shots if shot.kind != "close_up"] or list(performance.shots)
    shot = max(wider, key=lambda shot: shot.end - shot.start)
    places = choose_places(shot.end - shot.start, late)

    def uncut(count: int) -> tuple[int, ...]:
        return tuple(shot.start + places.source(frame) for frame in range(count))

    stretches = [uncut(places.late + places.reach + 1)]
    others = [list(range(other.start, other.end)) for other in performance.shots if other is not shot]
    gap = places.late + places.late // 3 - places.early - len(stretches[0])
    least = 2 * places.reach  # of even the shortest session
    left, turn = max(gap, least), 0
    while others and left > 0:
        stretch = others[turn % len(others)][:left]
        stretches.append(tuple(stretch))
        left, turn = left - len(stretch), turn + 1
    last = sum(len(stretch) for stretch in stretches) + places.early
    stretches.append(uncut(places.early + places.reach + 1))
    return Plan(shot, places, tuple(stretches), last)


def long_performance(assets: Path) -> Performance:
    """Of the first eight held-out performances, 20 seconds long, that whose cast is tinted most: most to forget."""
    return max(held_out_performances(assets, 8, seconds=20.0), key=_tinted)


def _tinted(performance: Performance) -> float:
    return sum(abs(math.log(channel)) for member in performance.stage.cast for channel in member.tint)


@dataclass(frozen=True)
class LongSession:
    """What came of one."""

    performance: Performance
    tier: str
    plan: Plan
    psnr_db: dict[int, float]  # by frame of the session
    colors: dict[int, dict[int, ActorColor]]  # by frame of the session, then by cast index
    forgotten: dict[int, ActorColor]  # by cast index: what a model would show that had lost the tints

    @property
    def drift_db(self) -> float:
        """See ``steadiness.drift_db``."""
        return drift_db(self.psnr_db, self.plan.places)

    def mean_psnr(self, place: int) -> float:
        """dB, mean around a place."""
        window = self.plan.around(place)
        return sum(self.psnr_db[frame] for frame in window) / len(window)

    def colors_at(self, place: int) -> dict[int, ActorColor]:
        """By cast index, means around a place."""
        frames = [self.colors[frame] for frame in self.plan.around(place)]
        return _means(frames)

    def identity_error(self, place: int) -> float:
        """dE76, mean over the actors seen around a place."""
        errors = [color.error for color in self.colors_at(place).values()]
        return sum(errors) / len(errors) if errors else float("nan")


def play_long_session(
    engine: TransformerEngine,
    renderer: StageRenderer,
    performance: Performance,
    tier: str,
    late: int,
    progress: Callable[[int], object] = lambda count: None,
) -> LongSession:
    """Plays ``plan(performance, late)``. ``progress`` is told of every frame."""
    session = plan(performance, late)
    reference = _References(renderer, performance, performance.stage)
    due = session.scored()
    psnr_db: dict[int, float] = {}
    colors: dict[int, dict[int, ActorColor]] = {}
    timeline, pipeline = engine.begin(performance.stage, seed=performance.seed), Pipeline()
    frame = 0
    try:
        for stretch in session.stretches:
            timeline.cut()
            states = [performance.states(source) for source in stretch]
            for source, pixels in zip(stretch, pipeline.play(timeline, states, tier), strict=True):
                if frame in due:
                    result, (truth, regions) = as_tensor(pixels), reference(source)
                    psnr_db[frame] = psnr(result, truth)
                    colors[frame] = color_errors(result, truth, regions.actors)
                frame += 1
                progress(1)
    finally:
        pipeline.close()
        timeline.close()
    return LongSession(performance, tier, session, psnr_db, colors, _forgotten(renderer, performance, session))


class _References:
    """The stage's own renders, drawn once each, for the session shows the same frames again and again."""

    def __init__(self, renderer: StageRenderer, performance: Performance, stage: Stage) -> None:
        renderer.open(stage)
        self._renderer, self._states = renderer, performance.states
        self._known: dict[int, tuple[Pixels, Regions]] = {}

    def __call__(self, frame: int) -> tuple[Tensor, Regions]:
        """Picture (3, H, W) in 0 to 1, and its regions."""
        if frame not in self._known:
            state = self._states(frame)
            picture = self._renderer.render(state)
            self._known[frame] = picture, regions_of(state, self._renderer.render_ids(state))
        picture, regions = self._known[frame]
        return as_tensor(picture), regions


def _forgotten(renderer: StageRenderer, performance: Performance, session: Plan) -> dict[int, ActorColor]:
    """The colour error of the reference itself without anybody's tint, of those who have one."""
    places = session.places
    sources = [session.shot.start + places.source(frame) for frame in places.around(places.early)]
    stage = performance.stage
    plain = replace(stage, cast=tuple(replace(member, tint=UNTINTED) for member in stage.cast))
    with_tints = [_References(renderer, performance, stage)(source) for source in sources]
    without = [_References(renderer, performance, plain)(source)[0] for source in sources]
    frames = [
        color_errors(picture, truth, regions.actors)
        for picture, (truth, regions) in zip(without, with_tints, strict=True)
    ]
    return {actor: color for actor, color in _means(frames).items() if stage.cast[actor].tint != UNTINTED}


def _means(frames: list[dict[int, ActorColor]]) -> dict[int, ActorColor]:
    """By cast index, over the frames in which an actor is seen."""
    result = {}
    for actor in sorted({actor for frame in frames for actor in frame}):
        seen = [frame[actor] for frame in frames if actor in frame]
        result[actor] = ActorColor(
            sum(color.error for color in seen) / len(seen), sum(color.shift for color in seen) / len(seen)
        )
    return result
