"""Frames through shared memory: slots that the inference process writes and the front end reads.

    front end            inference process
    take a free slot
    order a frame  --->  draw, write the slot
    encode it      <---  "drawn, slot 1"
    slot is free again

The front end alone owns the list of free slots, and an order names the slot it is for, so neither side ever waits for
the other inside the ring and no lock is shared. The number of slots is also the depth of the pipeline.

A frame's latent lies behind its pixels: it is larger than what a pipe takes in one piece, and each piece wakes the
other side up.
"""

from __future__ import annotations

import contextlib
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # (height, width, 3) RGB, rows top down


class FrameRing:
    """``slots`` frames of ``height`` x ``width`` RGB pixels, and of ``latent_bytes``, in one block of shared memory."""

    def __init__(
        self, memory: SharedMemory, slots: int, height: int, width: int, latent_bytes: int, *, owner: bool
    ) -> None:
        self._memory = memory
        self._shape = height, width, 3
        self._frame_bytes = height * width * 3
        self._latent_bytes = latent_bytes
        self._owner = owner
        self.slots = slots

    @classmethod
    def create(cls, slots: int, height: int, width: int, latent_bytes: int) -> FrameRing:
        """Makes the memory. Whoever creates it unlinks it, in ``close``."""
        memory = SharedMemory(create=True, size=slots * (height * width * 3 + latent_bytes))
        return cls(memory, slots, height, width, latent_bytes, owner=True)

    @classmethod
    def attach(cls, name: str, slots: int, height: int, width: int, latent_bytes: int) -> FrameRing:
        """Opens memory that the other process made. A spawned child shares its parent's resource tracker, so that this
        does not make the tracker unlink the memory when the child exits.
        """
        return cls(SharedMemory(name=name), slots, height, width, latent_bytes, owner=False)

    @property
    def name(self) -> str:
        return self._memory.name

    def write(self, slot: int, pixels: Pixels) -> None:
        """Copies a frame into a slot. Raises ``ValueError`` if it is not of the ring's shape and type."""
        if pixels.shape != self._shape or pixels.dtype != np.uint8:
            raise ValueError(f"a frame of {pixels.dtype} {pixels.shape} does not fit slots of uint8 {self._shape}")
        self.view(slot)[...] = pixels

    def write_latent(self, slot: int, latent: bytes) -> None:
        """Copies a frame's latent into its slot. Raises ``ValueError`` if it is not as long as the ring's are."""
        if len(latent) != self._latent_bytes:
            raise ValueError(f"a latent of {len(latent)} bytes does not fit slots of {self._latent_bytes}")
        self._latent(slot)[...] = np.frombuffer(latent, np.uint8)

    def view(self, slot: int) -> Pixels:
        """A slot's pixels, in place. Let go of it before ``close``."""
        return np.ndarray(self._shape, np.uint8, self._memory.buf, self._start(slot))

    def latent(self, slot: int) -> bytes:
        """A copy of a slot's latent."""
        return self._latent(slot).tobytes()

    def _latent(self, slot: int) -> npt.NDArray[np.uint8]:
        start = self._start(slot) + self._frame_bytes
        return np.ndarray(self._latent_bytes, np.uint8, self._memory.buf, start)

    def _start(self, slot: int) -> int:
        if not 0 <= slot < self.slots:
            raise ValueError(f"there is no slot {slot} of {self.slots}")
        return slot * (self._frame_bytes + self._latent_bytes)

    def close(self) -> None:
        """Lets go of the memory; the owner also removes its name. Safe to repeat."""
        with contextlib.suppress(BufferError):  # a view still lives: the mapping goes with it, the name goes now
            self._memory.close()
        if self._owner:
            self._owner = False
            self._memory.unlink()
