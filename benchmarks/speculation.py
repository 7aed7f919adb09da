"""Would drawing ahead pay? How often an engine's next state can be guessed, and what a right guess would save.

    python benchmarks/speculation.py --json

In lockstep an engine says one state at a time, so the server waits for it and the engine for the frame. A server that
guesses the next state (constant velocity of camera, joints and props; faces and lights as they are) could have the
frame ready. It may show it if the real state differs by no more than a tolerance: how far, in pixels, any joint, prop
or corner of the set lies from where it was guessed; mouths and moods must be the same to 0.05.

  accepted         of all frames of the shipped scripts that have two before them in their shot, by tolerance
  same_state       frames whose state was guessed exactly: only these would leave a recording's pixels as they are
  psnr_db          of what would be shown against what the state asks for, over accepted frames (sampled)
  draw_ms          one frame alone from state to pixels: what a right guess saves at most, and a wrong one wastes

A turn of many states, or of keyframes, needs no guess: the server has the states, and draws ahead as it is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from live import describe_machine
from tqdm import tqdm

from cutscene_client import shipped
from cutscene_model.engine import TIERS, Engine, draw_whole
from cutscene_model.loading import load_engine
from cutscene_model.manifest import Manifest
from cutscene_model.scene import Camera, FloatArray, SceneState, Stage
from cutscene_model.vectors import rotation_matrix
from cutscene_server.keyframes import alike, interpolate
from cutscene_server.wire.scene import names_of, read_stage, read_state
from cutscene_server.wire.violations import Violations

TOLERANCES = (0.25, 0.5, 1.0, 2.0)  # pixels of a picture 288 high
_ROWS = 288
_FACE = 0.05  # of intensity and of a mouth's opening
_NEAR = 0.2  # metres before the camera; what is nearer is not projected


@dataclass(frozen=True)
class Guess:
    """One frame of a script: what was guessed, what came."""

    script: str
    stage: Stage
    guessed: SceneState
    real: SceneState
    pixels: float  # how far off the guess is; infinite where a face differs


def guess(earlier: SceneState, later: SceneState) -> SceneState:
    """The state that follows two others if everything keeps its velocity."""
    ahead = interpolate(earlier, later, 2.0)
    faces = {actor.cast_index: actor for actor in later.actors}
    actors = tuple(replace(faces[actor.cast_index], joints=actor.joints) for actor in ahead.actors)
    return replace(ahead, actors=actors, lights=later.lights)


def off_by(stage: Stage, guessed: SceneState, real: SceneState) -> float:
    """Pixels between where the two states put what can be seen; infinite if faces or lights differ."""
    moods = {actor.cast_index: actor for actor in guessed.actors}
    for actor in real.actors:
        other = moods[actor.cast_index]
        if other.emotion != actor.emotion or abs(other.intensity - actor.intensity) > _FACE:
            return float("inf")
        if abs(other.mouth_open - actor.mouth_open) > _FACE:
            return float("inf")
    if guessed.lights != real.lights:
        return float("inf")
    still = _corners(stage)
    there, here = _moving(guessed), _moving(real)
    first, second = (_projected(state.camera, np.concatenate([still, points]))
                     for state, points in ((guessed, there), (real, here)))  # fmt: skip
    seen = (np.abs(second[:, 0]) < _ROWS) & (np.abs(second[:, 1]) < _ROWS / 2)
    seen &= np.isfinite(first).all(axis=1)
    return float(np.linalg.norm(first - second, axis=1)[seen].max(initial=0.0))


def _corners(stage: Stage) -> FloatArray:
    signs = np.asarray([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    boxes = [element.box for element in stage.elements]
    turns = rotation_matrix(np.asarray([box.rotation for box in boxes], np.float32).reshape(-1, 4))
    reach = signs[None] * np.asarray([box.half_extent for box in boxes], np.float32).reshape(-1, 1, 3)
    centers = np.asarray([box.center for box in boxes], np.float32).reshape(-1, 1, 3)
    points: FloatArray = (centers + np.einsum("nij,nkj->nki", turns, reach)).reshape(-1, 3)
    return points


def _moving(state: SceneState) -> FloatArray:
    joints = [actor.joints for actor in sorted(state.actors, key=lambda actor: actor.cast_index)]
    props = sorted(state.props, key=lambda prop: prop.prop_index)
    places = np.asarray([prop.position for prop in props], np.float32).reshape(-1, 3)
    return np.concatenate([*joints, places]).astype(np.float32)


def _projected(camera: Camera, points: FloatArray) -> FloatArray:
    """Pixels (n, 2) from the picture's middle; not a number behind the camera."""
    local = (points - np.asarray(camera.position, np.float32)) @ rotation_matrix(
        np.asarray(camera.rotation, np.float32)
    )
    depth = np.where(local[:, 2] < -_NEAR, -local[:, 2], np.nan)
    scale = _ROWS / 2 / np.tan(camera.vertical_fov / 2)
    placed: FloatArray = local[:, :2] / depth[:, None] * scale
    return placed


def guesses(script: str, manifest: Manifest) -> Iterator[Guess]:
    """Every frame of a shipped script that has two before it in its shot."""
    expansion = shipped.load_expansion(script)
    violations = Violations()
    stage = read_stage(violations, expansion.open_request, manifest)
    names = names_of(stage, manifest)
    for shot in expansion.shots:
        states = [read_state(violations, "state", state, names) for state in shot.states]
        for earlier, later, real in zip(states, states[1:], states[2:], strict=False):
            if alike(earlier, later) and alike(later, real):
                guessed = guess(earlier, later)
                yield Guess(script, stage, guessed, real, off_by(stage, guessed, real))
    violations.raise_if_any()


def picture_error(engine: Engine, one: Guess, tier: str) -> tuple[float, float]:
    """PSNR (dB) between what the guess and what the real state draw, and milliseconds that the real one took."""
    pictures = []
    for state in (one.guessed, one.real):
        timeline = engine.begin(one.stage, 1)
        begun = time.perf_counter()
        pictures.append(draw_whole(timeline, state, tier)[1].astype(np.float64))
        took = time.perf_counter() - begun
        timeline.close()
    error = np.square(pictures[0] - pictures[1]).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9))), 1000 * took


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped weights")
    parser.add_argument("--tier", default="standard", choices=TIERS)
    parser.add_argument("--pictures", type=int, default=40, help="frames drawn both ways (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    print(describe_machine())
    engine = load_engine(options.model)
    found = [one for name in shipped.names() for one in guesses(name, engine.manifest)]
    off = np.asarray([one.pixels for one in found])
    accepted = {tolerance: float((off <= tolerance).mean()) for tolerance in TOLERANCES}
    result: dict[str, object] = {
        "frames": len(found),
        "accepted": {str(tolerance): round(share, 4) for tolerance, share in accepted.items()},
        "same_state": round(float((off == 0).mean()), 4),
    }
    print(f"{len(found)} frames of {len(shipped.names())} scripts; guessed exactly: {(off == 0).mean():.1%}")
    errors: dict[str, float] = {}
    took: list[float] = []
    for lower, tolerance in zip((0.0, *TOLERANCES), TOLERANCES, strict=False):
        some = [one for one in found if lower < one.pixels <= tolerance]
        chosen = some[:: max(len(some) * len(TOLERANCES) // options.pictures, 1)]
        drawn = [picture_error(engine, one, options.tier) for one in tqdm(chosen, leave=False, mininterval=5.0)]
        took += [ms for _, ms in drawn[1:]]
        if drawn:
            errors[str(tolerance)] = round(statistics.mean(psnr for psnr, _ in drawn), 2)
        error = errors.get(str(tolerance), float("nan"))
        print(f"within {tolerance:4} pixels: {accepted[tolerance]:6.1%} of frames accepted; {error:.1f} dB between "
              f"what is shown and what was asked, of those over {lower} pixels")  # fmt: skip
    result |= {"psnr_db": errors, "draw_ms": round(statistics.median(took), 1), "tier": options.tier}
    print(f"a frame alone takes {result['draw_ms']} ms from state to pixels at the {options.tier} tier")
    if options.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
