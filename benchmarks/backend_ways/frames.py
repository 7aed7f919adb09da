"""The frames that were captured, as the processes of the ways read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[np.float32]]


def frame_files(folder: Path, network: str) -> list[Path]:
    """A network's captured inputs, frame by frame."""
    return sorted(folder.glob(f"{network}-*.npz"), key=lambda path: int(path.stem.rpartition("-")[2]))


def read_frames(folder: Path, network: str) -> tuple[list[Arrays], Arrays]:
    """What a quantiser may look at, and the frame that is timed and compared, which it has not seen."""
    every = []
    for path in frame_files(folder, network):
        with np.load(path, allow_pickle=False) as archive:
            every.append({name: archive[name] for name in archive.files})
    return every[:-1], every[-1]
