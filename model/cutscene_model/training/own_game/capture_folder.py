"""Reads a capture, the folder that a game wrote (``docs/own-game.md``): runs of scene states and pictures.

Everything in it is checked before anything is trained: a run costs a game an hour to record again, a mistake in the
tenth hour of training costs ten.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from cutscene_model.scene import SceneState, Stage
from cutscene_model.training.own_game.contract_json import Fields, read_stage, read_state
from cutscene_model.training.own_game.errors import CaptureError

FORMAT, VERSION = "cutscene-capture", 1
SIZE = (512, 288)
MAX_FRAMES = 100_000  # of a run
MAX_LINE = 100_000  # bytes that one frame's line may have
MAX_PICTURE = 4_000_000  # bytes
MAX_JSON = 4_000_000  # bytes of a file that is one message
MOST_IDS = 6  # 0 nothing, 1 to 4 the cast in its order, 5 props, 6 the set
JPEG_QUALITY = 97

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One frame; its pictures are read when they are asked for."""

    number: int  # along the run's timeline
    shot: int  # it changes where the camera jumps
    state: SceneState
    picture: Path
    depth: Path | None
    ids: Path | None

    def rgb(self) -> Pixels:
        """(288, 512, 3) uint8."""
        return _image(self.picture, "RGB")

    def jpeg(self) -> bytes:
        """The picture as training stores it; a JPEG of the game's own is taken as it is."""
        data = self.picture.read_bytes()
        if data[:2] == b"\xff\xd8":
            return data
        return bytes(simplejpeg.encode_jpeg(self.rgb(), JPEG_QUALITY, "RGB", "444"))

    def object_ids(self) -> Pixels | None:
        """(288, 512) uint8, whose pixel it is (``MOST_IDS``); None where the game did not tell."""
        if self.ids is None:
            return None
        ids = _image(self.ids, "L")
        if ids.max() > MOST_IDS:
            raise CaptureError(self.ids, "", f"found id {ids.max()}; allowed are 0 to {MOST_IDS}")
        return ids

    def metres(self) -> npt.NDArray[np.float32] | None:
        """(288, 512) along the camera's axis, infinite where nothing is; None where the game did not tell."""
        if self.depth is None:
            return None
        steps = _image(self.depth, "I;16")
        return np.where(steps > 0, steps.astype(np.float32) / 1000, np.float32(np.inf)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class CapturedRun:
    """One stretch of play on one set."""

    name: str
    folder: Path
    fps: float
    stage: Stage
    frames: tuple[CapturedFrame, ...]


@dataclass(frozen=True, slots=True)
class Census:
    """What a capture holds, for its makers to look at: a costume that occurs twice is not learnt."""

    runs: int
    frames: int
    seconds: float
    bytes: int
    with_ids: int  # frames
    with_depth: int
    costumes: dict[str, int]  # frames in whose state somebody wears it
    looks: dict[str, int]  # frames on whose set it stands, or whose state holds it

    def __str__(self) -> str:
        lines = [
            f"{self.frames} frames in {self.runs} runs, {self.seconds:.0f} s, {self.bytes / 1e6:.0f} MB; "
            f"{self.with_ids} with ids, {self.with_depth} with depth"
        ]
        for kind, counts in (("costume", self.costumes), ("look", self.looks)):
            lines += [f"  {kind} {name}: {count} frames" for name, count in counts.items()]
        return "\n".join(lines)


def read_capture(folder: Path) -> tuple[CapturedRun, ...]:
    """All runs of a capture, in the order of their names. Raises ``CaptureError``, naming file, field and limit."""
    path = folder / "capture.json"
    head = Fields(path, "", _json(path))
    for name, wanted in (("format", FORMAT), ("version", VERSION), ("width", SIZE[0]), ("height", SIZE[1])):
        found = head.take(name)
        if found != wanted:
            raise head.fail(name, f"found {found!r}; wanted is {wanted!r}")
    head.done()
    runs = tuple(_run(one) for one in sorted((folder / "runs").glob("*")) if one.is_dir())
    if not any(run.frames for run in runs):
        raise CaptureError(folder, "runs", "there is no frame in it")
    return tuple(run for run in runs if run.frames)


def _run(folder: Path) -> CapturedRun:
    path = folder / "open.json"
    opened = Fields(path, "", _json(path))
    fps = opened.number("fps", 1, 120)
    stage = read_stage(opened)
    opened.done()
    return CapturedRun(folder.name, folder, fps, stage, tuple(_frames(folder, stage)))


def _frames(folder: Path, stage: Stage) -> Iterator[CapturedFrame]:
    path = folder / "frames.jsonl"
    number = shot = -1
    if not path.exists():
        return
    with path.open("rb") as file:
        for place, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), 1):
            where = f"line {place}"
            if place > MAX_FRAMES or len(line) > MAX_LINE:
                raise CaptureError(path, where, f"at most {MAX_FRAMES} lines of {MAX_LINE} bytes are read")
            if not line.endswith(b"\n"):
                return  # torn by a power cut: the writer takes it up from here
            try:
                plain = json.loads(line, parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                raise CaptureError(path, where, str(error)) from error
            fields = Fields(path, where, plain)
            before = number, shot
            number, shot = fields.whole("frame", 0, 10**9), fields.whole("shot", 0, 10**9)
            if number <= before[0] or shot < before[1]:
                raise fields.fail("frame", f"{number} of shot {shot} follows {before[0]} of shot {before[1]}")
            state = read_state(fields.child("state"), stage)
            picture = _file(fields, folder, "picture")
            if picture is None:
                raise fields.fail("picture", "is missing; it is required")
            frame = CapturedFrame(
                number, shot, state, picture, _file(fields, folder, "depth"), _file(fields, folder, "ids")
            )
            fields.done()
            yield frame


def _file(fields: Fields, folder: Path, kind: str) -> Path | None:
    """A file beside the line that names it. Its size is looked at here, its contents when it is read."""
    name = fields.take(kind)
    if name is None:
        return None
    if not isinstance(name, str) or name != Path(name).name or name.startswith("."):
        raise fields.fail(kind, f"found {name!r}; the name of a file in {folder} is wanted")
    path = folder / name
    try:
        size = path.stat().st_size
    except OSError as error:
        raise fields.fail(kind, f"{name}: {error.strerror}") from error
    if not 0 < size <= MAX_PICTURE:
        raise fields.fail(kind, f"{name} has {size} bytes; allowed are 1 to {MAX_PICTURE}")
    return path


def _image(path: Path, mode: str) -> Pixels:
    try:
        image = Image.open(io.BytesIO(path.read_bytes()), formats=("PNG", "JPEG"))
        if image.size != SIZE:
            raise CaptureError(path, "", f"is {image.size[0]} x {image.size[1]}; wanted is {SIZE[0]} x {SIZE[1]}")
        if image.mode != mode:
            raise CaptureError(path, "", f"holds {image.mode} pixels; wanted are {mode}")
        return np.array(image)
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise CaptureError(path, "", f"not a PNG or JPEG: {error}") from error


def _json(path: Path) -> object:
    try:
        if path.stat().st_size > MAX_JSON:
            raise CaptureError(path, "", f"is larger than {MAX_JSON} bytes")
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except CaptureError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise CaptureError(path, "", str(error)) from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that the contract allows")


def census(runs: tuple[CapturedRun, ...]) -> Census:
    """Counts what is there."""
    costumes: Counter[str] = Counter()
    looks: Counter[str] = Counter()
    frames = [frame for run in runs for frame in run.frames]
    for run in runs:
        standing = {element.look for element in run.stage.elements}
        for frame in run.frames:
            costumes.update({run.stage.cast[actor.cast_index].costume for actor in frame.state.actors})
            looks.update(standing | {run.stage.props[prop.prop_index].look for prop in frame.state.props})
    return Census(
        len(runs),
        len(frames),
        sum(len(run.frames) / run.fps for run in runs),
        sum(frame.picture.stat().st_size for frame in frames),
        sum(frame.ids is not None for frame in frames),
        sum(frame.depth is not None for frame in frames),
        dict(sorted(costumes.items())),
        dict(sorted(looks.items())),
    )
