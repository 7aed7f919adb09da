"""Records what a game says and shows, frame by frame: what a model of the game's own look is trained from.

    with cutscene_client.capture("my-capture", cast=cast, set=room, run="harbour-1") as capture:
        for state, rgb in game:
            capture.add(state, rgb)

Cast, set and states are the messages that the game sends at play time. The folder is plain JSON and pictures
(``docs/own-game.md`` tells its form), so that an engine without Python can write it too; ``cutscene-train`` reads it.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import simplejpeg
from google.protobuf import json_format
from google.protobuf.message import Message
from PIL import Image

from cutscene_client.errors import CutsceneError
from cutscene_client.scene import JOINTS
from cutscene_proto.v1 import scene_pb2 as spb

FORMAT, VERSION = "cutscene-capture", 1
WIDTH, HEIGHT = 512, 288
MAX_FRAMES = 100_000  # of one run
MAX_SCALE = 8  # times the stored size that a game's picture may have
JPEG_QUALITY = 97
SYNC_FRAMES = 24  # frames that a power cut may cost
RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
MOST_IDS = 6
"""Of an object-id pass: 0 nothing, 1 to 4 the members of the cast in their order, 5 props, 6 the set."""

Pixels = npt.NDArray[np.uint8]


class CaptureError(CutsceneError):
    """What was to be captured is not what can be, or the folder is not a capture of it. Nothing was written."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description


@dataclass(frozen=True, slots=True)
class CaptureProgress:
    """How far a run is."""

    run: str
    frames: int
    seconds: float  # of play
    bytes: int  # on disk, those of earlier sittings included

    def __str__(self) -> str:
        return f"{self.run}: {self.frames} frames, {self.seconds:.1f} s, {self.bytes / 1e6:.1f} MB"


def capture(
    folder: str | os.PathLike[str],
    *,
    cast: Iterable[spb.CastMember],
    set: spb.Set | Iterable[spb.SetElement],
    fps: float = 24.0,
    run: str = "",
    png: bool = False,
) -> CaptureWriter:
    """Begins a run of ``folder``, or goes on with it: one stretch of play on one set, with one cast.

    ``run`` names it; without a name it is a new one. A run that is there already goes on after its last whole frame
    (``CaptureWriter.frames`` says how many there are), if cast, set and fps are what they were. ``png`` stores pictures
    without loss, at four times the size. Raises ``CaptureError``.
    """
    stage = set if isinstance(set, spb.Set) else spb.Set(elements=set)
    return CaptureWriter(Path(folder), list(cast), stage, fps, run, png)


class CaptureWriter:
    """Writes one run. A context manager; ``close`` may be called instead."""

    def __init__(
        self, folder: Path, cast: list[spb.CastMember], stage: spb.Set, fps: float, run: str, png: bool
    ) -> None:
        if not 1 <= fps <= 120:
            raise CaptureError("fps", f"found {fps:g}; allowed are 1 to 120")
        if not 0 <= len(cast) <= 4:
            raise CaptureError("cast", f"found {len(cast)} members; allowed are 0 to 4")
        if run and not RUN_NAME.fullmatch(run):
            raise CaptureError("run", f"found {run!r}; allowed are 1 to 64 characters of [A-Za-z0-9_-]")
        self._cast = _unique("cast", [member.id for member in cast])
        self._props = _unique("set.props", [prop.id for prop in stage.props])
        _write_head(folder)
        self.run = run or _next_run(folder)
        self._folder = folder / "runs" / self.run
        self._fps, self._png = fps, png
        self._folder.mkdir(parents=True, exist_ok=True)
        said = {"fps": fps, "cast": [_plain(member) for member in cast], "set": _plain(stage)}
        _say_once(self._folder / "open.json", said)
        self.frames, self._next, self._shot, whole = _whole_frames(self._folder / "frames.jsonl")
        self._bytes = sum(path.stat().st_size for path in self._folder.iterdir())
        self._lines = (self._folder / "frames.jsonl").open("r+b" if whole else "wb")
        self._lines.truncate(whole)
        self._lines.seek(whole)
        self._cut = False

    def add(
        self,
        state: spb.SceneState,
        rgb: Pixels,
        *,
        depth: npt.NDArray[np.floating] | None = None,
        ids: npt.NDArray[np.integer] | None = None,
        frame: int | None = None,
    ) -> CaptureProgress:
        """Records the next frame: what the game said of it and what it drew. Raises ``CaptureError``.

        ``rgb`` is (288, 512, 3) uint8 sRGB, or a whole multiple of that size, which is averaged down: pictures drawn
        larger have smoother edges. ``depth`` is metres along the camera's axis, infinite where there is nothing, and
        ``ids`` whose pixel it is (``MOST_IDS``), both (288, 512) or a multiple. Neither is needed for training; ``ids``
        make the figures on actors and silhouettes exact. ``frame`` is its number along the run at the run's fps, where
        frames between are left out; by default it follows the last one.
        """
        if self._lines.closed:
            raise CaptureError("add", "the run is closed")
        if self.frames >= MAX_FRAMES:
            raise CaptureError("add", f"a run has at most {MAX_FRAMES} frames; begin another")
        _check_state(state, self._cast, self._props)
        number = self._next if frame is None else frame
        if number < self._next:
            raise CaptureError("frame", f"found {number}; the next one is {self._next} or later")
        files = {"picture": _picture(rgb, self._png)}
        if depth is not None:
            files["depth"] = _depth(depth)
        if ids is not None:
            files["ids"] = _ids(ids)
        line: dict[str, Any] = {"frame": number, "shot": self._shot + self._cut}
        for kind, (suffix, data) in files.items():
            name = f"{number:06d}{suffix}"
            temporary = self._folder / f"{name}.tmp"
            temporary.write_bytes(data)
            os.replace(temporary, self._folder / name)
            line[kind] = name
            self._bytes += len(data)
        # The line comes last: a frame that has one is whole.
        line["state"] = _plain(state)
        written = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        self._lines.write(written)
        self._lines.flush()
        self._bytes += len(written)
        self.frames, self._next = self.frames + 1, number + 1
        self._shot, self._cut = line["shot"], False
        if self.frames % SYNC_FRAMES == 0:
            os.fsync(self._lines.fileno())
        return self.progress

    def cut(self) -> None:
        """The next frame belongs to another shot: the camera jumps."""
        self._cut = self.frames > 0

    @property
    def progress(self) -> CaptureProgress:
        """What has been written so far."""
        return CaptureProgress(self.run, self.frames, self._next / self._fps, self._bytes)

    def close(self) -> None:
        """Ends the sitting; the run may be gone on with."""
        if not self._lines.closed:
            self._lines.flush()
            os.fsync(self._lines.fileno())
            self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# ---- the folder -----------------------------------------------------------------------------------------------------


def _write_head(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    head = {"format": FORMAT, "version": VERSION, "width": WIDTH, "height": HEIGHT}
    _say_once(folder / "capture.json", head)


def _say_once(path: Path, said: dict[str, Any]) -> None:
    """Writes ``path``, or sees that it says just this already."""
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CaptureError(str(path), str(error)) from error
        for key, value in said.items():
            if not isinstance(found, dict) or found.get(key) != value:
                raise CaptureError(f"{path}: {key}", "is not what it was; record under another name")
        return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _next_run(folder: Path) -> str:
    """The first number that no run has."""
    number = 0
    while (folder / "runs" / f"{number:04d}").exists():
        number += 1
    return f"{number:04d}"


def _whole_frames(path: Path) -> tuple[int, int, int, int]:
    """A run's frames, the next one's number, the last shot, and the lines' bytes: a torn last line is not counted."""
    if not path.exists():
        return 0, 0, 0, 0
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].splitlines()
    if not lines:
        return 0, 0, 0, 0
    try:
        last = json.loads(lines[-1])
        return len(lines), int(last["frame"]) + 1, int(last["shot"]), whole
    except (ValueError, KeyError, TypeError) as error:
        raise CaptureError(f"{path}: line {len(lines)}", f"is not a frame: {error}") from error


# ---- messages and pictures ------------------------------------------------------------------------------------------


def _plain(message: Message) -> dict[str, Any]:
    """The message in protobuf's own JSON form, with the names of the proto."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _unique(field: str, names: list[str]) -> frozenset[str]:
    for name in names:
        if names.count(name) > 1:
            raise CaptureError(field, f"{name!r} occurs twice")
    return frozenset(names)


def _check_state(state: spb.SceneState, cast: frozenset[str], props: frozenset[str]) -> None:
    """What a server would refuse and a recording would be spoilt by; ranges are checked when it is read."""
    for field in ("camera", "lights"):
        if not state.HasField(field):
            raise CaptureError(f"state.{field}", "is missing; it is required")
    turn = state.camera.rotation
    length = math.sqrt(turn.x**2 + turn.y**2 + turn.z**2 + turn.w**2)
    if not abs(length - 1) <= 1e-3:
        raise CaptureError("state.camera.rotation", f"found length {length:g}; allowed is 1 within 0.001")
    for index, actor in enumerate(state.actors):
        if actor.cast_id not in cast:
            raise CaptureError(f"state.actors[{index}].cast_id", f"found {actor.cast_id!r}, which is not in the cast")
        if len(actor.joints) != 3 * len(JOINTS):
            raise CaptureError(
                f"state.actors[{index}].joints", f"found {len(actor.joints)} numbers; {3 * len(JOINTS)} are wanted"
            )
        if not np.isfinite(actor.joints).all():
            raise CaptureError(f"state.actors[{index}].joints", "holds numbers that are not finite")
    for index, prop in enumerate(state.props):
        if prop.prop_id not in props:
            raise CaptureError(f"state.props[{index}].prop_id", f"found {prop.prop_id!r}, which is not declared")
    _unique("state.actors", [actor.cast_id for actor in state.actors])
    _unique("state.props", [prop.prop_id for prop in state.props])


def _scale(field: str, shape: tuple[int, ...], channels: tuple[int, ...]) -> int:
    """How many of the picture's pixels lie along one that is stored."""
    factor = shape[0] // HEIGHT if shape else 0
    if not 1 <= factor <= MAX_SCALE or shape != (factor * HEIGHT, factor * WIDTH, *channels):
        wanted = ", ".join(map(str, (HEIGHT, WIDTH, *channels)))
        raise CaptureError(field, f"found shape {shape}; wanted is ({wanted}), or up to {MAX_SCALE} times as large")
    return factor


def _picture(rgb: Pixels, png: bool) -> tuple[str, bytes]:
    if rgb.dtype != np.uint8:
        raise CaptureError("rgb", f"found {rgb.dtype}; wanted is uint8")
    factor = _scale("rgb", rgb.shape, (3,))
    if factor > 1:
        blocks = rgb.reshape(HEIGHT, factor, WIDTH, factor, 3)
        rgb = (blocks.mean(axis=(1, 3), dtype=np.float32) + 0.5).astype(np.uint8)
    if png:
        return ".png", _png(rgb)
    return ".jpg", simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), JPEG_QUALITY, "RGB", "444")


def _depth(depth: npt.NDArray[np.floating]) -> tuple[str, bytes]:
    """Millimetres; 0 is nothing, 65,535 that or farther."""
    factor = _scale("depth", depth.shape, ())
    metres = depth[factor // 2 :: factor, factor // 2 :: factor]
    if np.isnan(metres).any() or (metres < 0).any():
        raise CaptureError("depth", "holds NaN or negative numbers; infinite is where nothing is")
    steps = np.where(np.isfinite(metres), np.clip(metres * 1000, 1, 65535), 0)
    return ".depth.png", _png(steps.astype(np.uint16))


def _ids(ids: npt.NDArray[np.integer]) -> tuple[str, bytes]:
    factor = _scale("ids", ids.shape, ())
    chosen = ids[factor // 2 :: factor, factor // 2 :: factor]
    if chosen.min() < 0 or chosen.max() > MOST_IDS:
        raise CaptureError("ids", f"found {chosen.min()} to {chosen.max()}; allowed are 0 to {MOST_IDS}")
    return ".ids.png", _png(chosen.astype(np.uint8))


def _png(pixels: npt.NDArray[np.integer]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=3)
    return file.getvalue()
