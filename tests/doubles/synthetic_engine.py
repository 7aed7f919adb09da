"""A small real engine for tests of the service: fast, and every pixel is a pure function of what it was told.

It is loaded through the public seam (``engine = "synthetic_engine:load"``), draws 64x32 frames whose pixels depend on
the stage, the seed, the frame's index, the state, the tier and the frames since the last cut, and counts blocks as a
windowed cache would. Some stages make it misbehave on purpose; see ``MISCHIEF``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from cutscene_model import scene_codec
from cutscene_model.engine import DrawnFrame, PastFrame, Pixels
from cutscene_model.manifest import Manifest
from cutscene_model.scene import EMOTIONS, SceneState, Stage

WIDTH, HEIGHT = 64, 32
WINDOW = 4

MISCHIEF = {
    "fail_begin": "raises when a timeline is begun",
    "fail_frame_3": "raises when frame 3 is drawn",
    "die_frame_3": "ends its process when frame 3 is drawn",
    "killed_frame_3": "has its process killed when frame 3 is drawn, once for each file in the model's directory",
    "hang_frame_3": "stands still for ever when frame 3 is drawn, as often",
    "hang_begin": "does so when a timeline is begun",
    "hang_decode": "does so when a frame is decoded",
    "fail_commit_3": "raises when frame 3 is committed",
    "fail_decode": "raises when a frame is decoded",
    "slow": "takes 50 ms a frame",
}
"""Ids of cast members that make the engine misbehave."""

MANIFEST = Manifest(
    name="synthetic",
    version="1",
    digest="00" * 32,
    width=WIDTH,
    height=HEIGHT,
    latent_shape=(4, 1, 2),
    greybox_shape=(32, 64),
    tiers={"draft": 1, "standard": 2},
    default_tier="standard",
    window=WINDOW,
    costumes=("knight", "mage"),
    looks=("floor/tile", "wall/plain"),
    emotions=EMOTIONS[:-1],  # no surprise, so that an unknown emotion can be tried
    files=(),
    license="MIT",
    references=3,
    reference_shape=(3, 4),
)


def load(directory: Path | None, **placement: Any) -> SyntheticEngine:
    """The factory that the server's ``engine`` setting names. A directory called "slow" takes a minute to load, one
    with a file "hang_load" for ever, that once.
    """
    if directory is not None and directory.name == "slow":
        time.sleep(60)
    if directory is not None and (directory / "hang_load").exists():
        _hang([directory / "hang_load"])
    if directory is not None and not directory.exists():
        raise FileNotFoundError(directory)
    return SyntheticEngine(directory)


class SyntheticEngine:
    """The engine: see the module's docstring."""

    @property
    def manifest(self) -> Manifest:
        return MANIFEST

    def __init__(self, directory: Path | None = None) -> None:
        """``directory``: of the model, where a mischief may keep what outlives this process."""
        self._directory = directory
        self._timelines: set[SyntheticTimeline] = set()  # that were begun, and not closed

    def counters(self) -> dict[str, int]:
        """As the model's own, of what sessions still read: that goes when their timelines are closed."""
        return {"used": sum(timeline.remembered for timeline in self._timelines)}

    def rehearse(self) -> int:
        """A model in a directory called "dies" ends its process, one in "hangs" never returns."""
        if self._directory is not None and self._directory.name == "dies":
            os._exit(3)
        if self._directory is not None and self._directory.name == "hangs":
            threading.Event().wait()
        return 0

    def encode(self, picture: Pixels) -> npt.NDArray[np.float16]:
        """The bits of a digest. A first row of white fails, one of red ends the process, one of blue hangs it."""
        if (picture[0] == 255).all():
            raise RuntimeError("this picture cannot be encoded")
        if (picture[0] == (255, 0, 0)).all():
            os._exit(3)
        if (picture[0] == (0, 0, 255)).all():
            threading.Event().wait()
        return np.resize(_numbers(picture.tobytes()), MANIFEST.reference_shape)

    def begin(self, stage: Stage, seed: int, next_frame: int = 0, past: Sequence[PastFrame] = ()) -> SyntheticTimeline:
        mischief = {member.id for member in stage.cast}
        if "fail_begin" in mischief:
            raise RuntimeError("this stage cannot be begun")
        times = list(self._directory.iterdir()) if self._directory else []
        if "hang_begin" in mischief:
            _hang(times)
        timeline = SyntheticTimeline(stage, seed, mischief, next_frame, past, self._timelines.discard, times)
        self._timelines.add(timeline)
        return timeline


class SyntheticTimeline:
    """The timeline: a running digest of the window stands for the cache."""

    def __init__(
        self,
        stage: Stage,
        seed: int,
        mischief: set[str],
        next_frame: int,
        past: Sequence[PastFrame],
        on_close: Callable[[SyntheticTimeline], None],
        times: Sequence[Path],
    ) -> None:
        self._anchor = hashlib.blake2b(msgpack.packb([scene_codec.stage_to_plain(stage), seed])).digest()
        self._mischief = mischief
        self._window = [frame.latent.tobytes() for frame in past][-WINDOW:]
        self._pending: bytes | None = None
        self._next_frame = next_frame
        self._begun_at = next_frame
        self._on_close = on_close
        self._times = times  # one is taken for each time that the process is killed, or hangs

    @property
    def remembered(self) -> int:
        return len(self._window)

    @property
    def next_frame(self) -> int:
        return self._next_frame

    def prepare(self, state: SceneState, tier: str) -> SceneState:
        return state

    def draw(self, prepared: SceneState, tier: str) -> DrawnFrame:
        self._misbehave("frame")
        computed = 1 if self._next_frame == self._begun_at else 0
        if self._pending is not None:
            self.commit()
            computed += 1
        told = [self._anchor, self._window, self._next_frame, scene_codec.state_to_plain(prepared), tier]
        # The latent is the digest: what later frames remember, and enough to show the frame again.
        latent = _numbers(msgpack.packb(told))
        digest = latent.tobytes()
        frame = DrawnFrame(
            frame_index=self._next_frame,
            latent=latent,
            tier=tier,
            blocks_reused=1 + len(self._window) - computed,
            blocks_computed=computed,
        )
        self._pending = digest
        self._next_frame += 1
        return frame

    def commit(self) -> None:
        if self._pending is not None:
            if "fail_commit_3" in self._mischief and self._next_frame == 4:
                raise RuntimeError("frame 3 cannot be committed")
            self._window = [*self._window, self._pending][-WINDOW:]
            self._pending = None

    def cut(self) -> None:
        self._window = []
        self._pending = None

    def decode(self, prepared: SceneState, latent: npt.NDArray[np.float16]) -> Pixels:
        if "fail_decode" in self._mischief:
            raise RuntimeError("this stage's frames cannot be decoded")
        if "hang_decode" in self._mischief:
            _hang(self._times)
        return _pixels(latent.tobytes())

    def close(self) -> None:
        self.cut()
        self._on_close(self)

    def _misbehave(self, what: str) -> None:
        if "slow" in self._mischief:
            time.sleep(0.05)
        if self._next_frame == 3:
            if f"fail_{what}_3" in self._mischief:
                raise RuntimeError("frame 3 cannot be drawn")
            if f"die_{what}_3" in self._mischief:
                os._exit(3)
            if f"killed_{what}_3" in self._mischief and self._times:
                self._times[0].unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            if f"hang_{what}_3" in self._mischief:
                _hang(self._times)


def _hang(times: Sequence[Path]) -> None:
    """Never returns, as long as there is one time more to do so."""
    if times:
        times[0].unlink()
        threading.Event().wait()


def _numbers(told: bytes) -> npt.NDArray[np.float16]:
    """A digest as a latent. One bit of each number is cleared, so that all are finite, as a model's are."""
    numbers = np.frombuffer(hashlib.blake2b(told, digest_size=16).digest(), np.uint16) & 0xBFFF
    return np.frombuffer(numbers.tobytes(), np.float16).reshape(MANIFEST.latent_shape)


def _pixels(digest: bytes) -> Pixels:
    noise = np.random.default_rng(int.from_bytes(digest, "little"))
    return noise.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
