"""Captured pictures as one growing list, for training that needs no scene states."""

from __future__ import annotations

from pathlib import Path

import msgpack
import numpy as np
import numpy.typing as npt
import simplejpeg

from cutscene_model.training.shards import shard_paths


class Pictures:
    """The pictures of all shards in a directory; ``refresh`` takes in those that a running capture has added."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: set[str] = set()
        self._pictures: list[bytes] = []
        self.refresh()

    def refresh(self) -> None:
        """Reads shards that were not there before."""
        for path in shard_paths(self._directory):
            if path.name not in self._read:
                self._read.add(path.name)
                self._pictures += [record[6] for record in msgpack.unpackb(path.read_bytes())["records"]]

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        """(288, 512, 3) RGB."""
        picture: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(self._pictures[int(index)])
        return picture
