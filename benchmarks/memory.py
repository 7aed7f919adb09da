"""Does remembering help? An ablation of the window, and of recalling frames from where the camera has been before.

    CUTSCENE_ASSETS=/path/to/packs python benchmarks/memory.py --json

Held-out performances are played shot by shot. Whenever the camera comes back to about where it was before the last cut
(see ``apart``), the frames that follow are drawn with four memories, all else equal:

  nothing   the anchors alone
  window    the frames drawn last, as in play: since the cut, so none for the first frame
  recalled  the window, with the free places given to the most similar of all earlier frames
  other     the same, with frames of the least similar cameras: whether what is recalled matters at all

and compared with the stage's own render. A memory that helps has a higher PSNR than ``nothing``, beyond the standard
error of the paired differences. Needs the training extra and the art packs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cutscene_model.engine import TIERS, PastFrame, Pixels
from cutscene_model.loading import load_engine
from cutscene_model.scene import Camera
from cutscene_model.training.director import Performance
from cutscene_model.training.evaluation import as_tensor, describe_machine, held_out_performances
from cutscene_model.training.metrics import psnr
from cutscene_model.training.stage import StageRenderer
from cutscene_model.transformer import TransformerEngine
from cutscene_model.vectors import rotation_matrix

MEMORIES = ("nothing", "window", "recalled", "other")
_METRES, _RADIANS = 1.0, 0.35  # within which two cameras are at the same place


def apart(one: Camera, other: Camera) -> float:
    """How far two cameras are from each other: 1 is a metre, or a third of a radian between their lines of sight."""
    ahead = [rotation_matrix(np.asarray(camera.rotation, np.float32))[:, 2] for camera in (one, other)]
    turned = float(np.arccos(np.clip(ahead[0] @ ahead[1], -1, 1)))
    moved = float(np.linalg.norm(np.subtract(one.position, other.position)))
    return max(moved / _METRES, turned / _RADIANS)


def play(
    engine: TransformerEngine, renderer: StageRenderer, performance: Performance, tier: str, frames: int
) -> list[dict[str, float]]:
    """Plays the first ``frames`` of every shot. Of each at which the camera has come back: its PSNR, dB, by memory."""
    renderer.open(performance.stage)
    timeline = engine.begin(performance.stage, performance.seed)
    seen: list[PastFrame] = []  # of all shots before
    returns: list[dict[str, float]] = []
    for shot in performance.shots:
        timeline.cut()
        since_cut: list[PastFrame] = []
        for frame in range(shot.start, min(shot.end, shot.start + frames)):
            state, index = performance.states(frame), timeline.next_frame
            order = sorted(seen, key=lambda past: apart(past.state.camera, state.camera))
            if order and apart(order[0].state.camera, state.camera) < 1:
                window = engine.manifest.window
                free = max(window - len(since_cut), 1)
                memories: dict[str, Sequence[PastFrame]] = {
                    "nothing": (),
                    "window": since_cut,
                    "recalled": [*order[:free], *since_cut[-(window - free) :]][:window],
                    "other": [*order[-free:], *since_cut[-(window - free) :]][:window],
                }
                reference = as_tensor(renderer.render(state))
                scores = {}
                for name, past in memories.items():
                    forked = engine.begin(performance.stage, performance.seed, index, past)
                    prepared = forked.prepare(state, tier)
                    pixels: Pixels = forked.decode(prepared, forked.draw(prepared, tier).latent)
                    scores[name] = psnr(as_tensor(pixels), reference)
                    forked.close()
                returns.append(scores)
            drawn = timeline.draw(timeline.prepare(state, tier), tier)
            since_cut.append(PastFrame(index, state, drawn.latent))
        seen += since_cut
    timeline.close()
    return returns


def main() -> int:
    """Parses the command line, plays, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=os.environ.get("CUTSCENE_ASSETS"), help="folder of the packs")
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped weights")
    parser.add_argument("--tier", default="standard", choices=TIERS)
    parser.add_argument("--performances", type=int, default=8, help="held-out performances (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=6, help="of every shot (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    if options.assets is None:
        parser.error("--assets or CUTSCENE_ASSETS must name the folder of the art packs")
    print(describe_machine())
    engine = load_engine(options.model)
    returns: list[dict[str, float]] = []
    with StageRenderer(Path(options.assets)) as renderer:
        performances = held_out_performances(Path(options.assets), options.performances, seconds=20.0)
        for performance in tqdm(performances, total=options.performances, unit="performance", mininterval=5.0):
            returns += play(engine, renderer, performance, options.tier, options.frames)
    if not returns:
        print("the camera never came back: play more performances", file=sys.stderr)
        return 1
    values = {name: np.asarray([one[name] for one in returns]) for name in MEMORIES}
    result: dict[str, object] = {"frames": len(returns), "tier": options.tier}
    print(f"{engine.manifest.name} {engine.manifest.version}, {options.tier} tier: "
          f"{len(returns)} frames drawn where the camera had been before")  # fmt: skip
    for name, scores in values.items():
        gain = scores - values["nothing"]
        error = float(gain.std() / np.sqrt(len(gain)))
        print(f"{name:9} {scores.mean():.3f} dB, {gain.mean():+.4f} +- {error:.4f} against nothing")
        result[name] = {
            "psnr_db": round(float(scores.mean()), 4),
            "gain_db": round(float(gain.mean()), 5),
            "error_db": round(error, 5),
        }
    if options.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
