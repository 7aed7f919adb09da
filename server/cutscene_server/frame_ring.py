"""Frames through shared memory: slots that the inference process writes and the front end reads.

    front end            inference process
    take a free slot
    order a frame  --->  draw, encode, write the slot
    copy it        <---  "drawn, slot 1"
    slot is free again

The front end alone owns the list of free slots, and an order names the slot it is for, so neither side ever waits for
the other inside the ring and no lock is shared. The number of slots is also the depth of the pipeline.

Pictures and latents do not go through the pipe: they are larger than what it takes in one piece, and each piece wakes
the other side up.
"""

from __future__ import annotations

import contextlib
from multiprocessing.shared_memory import SharedMemory


class FrameRing:
    """``slots`` frames, each a picture of up to ``picture_bytes`` and a latent of ``latent_bytes``, in one block of
    shared memory.
    """

    def __init__(self, memory: SharedMemory, slots: int, picture_bytes: int, latent_bytes: int, *, owner: bool) -> None:
        self._memory = memory
        self._picture_bytes = picture_bytes
        self._latent_bytes = latent_bytes
        self._owner = owner
        self.slots = slots

    @classmethod
    def create(cls, slots: int, picture_bytes: int, latent_bytes: int) -> FrameRing:
        """Makes the memory. Whoever creates it unlinks it, in ``close``."""
        memory = SharedMemory(create=True, size=slots * (picture_bytes + latent_bytes))
        return cls(memory, slots, picture_bytes, latent_bytes, owner=True)

    @classmethod
    def attach(cls, name: str, slots: int, picture_bytes: int, latent_bytes: int) -> FrameRing:
        """Opens memory that the other process made. A spawned child shares its parent's resource tracker, so that this
        does not make the tracker unlink the memory when the child exits.
        """
        return cls(SharedMemory(name=name), slots, picture_bytes, latent_bytes, owner=False)

    @property
    def name(self) -> str:
        return self._memory.name

    def write_picture(self, slot: int, picture: bytes) -> None:
        """Copies an encoded picture into a slot. Raises ``ValueError`` if there is no room for it."""
        if len(picture) > self._picture_bytes:
            raise ValueError(f"a picture of {len(picture)} bytes does not fit slots of {self._picture_bytes}")
        self._place(self._start(slot), len(picture))[:] = picture

    def write_latent(self, slot: int, latent: bytes) -> None:
        """Copies a frame's latent into its slot. Raises ``ValueError`` if it is not as long as the ring's are."""
        if len(latent) != self._latent_bytes:
            raise ValueError(f"a latent of {len(latent)} bytes does not fit slots of {self._latent_bytes}")
        self._place(self._start(slot) + self._picture_bytes, len(latent))[:] = latent

    def picture(self, slot: int, length: int) -> bytes:
        """A copy of a slot's picture, which is so long. Raises ``ValueError`` if none can be."""
        if not 0 <= length <= self._picture_bytes:
            raise ValueError(f"there is no picture of {length} bytes in slots of {self._picture_bytes}")
        return bytes(self._place(self._start(slot), length))

    def latent(self, slot: int) -> bytes:
        """A copy of a slot's latent."""
        return bytes(self._place(self._start(slot) + self._picture_bytes, self._latent_bytes))

    def _start(self, slot: int) -> int:
        if not 0 <= slot < self.slots:
            raise ValueError(f"there is no slot {slot} of {self.slots}")
        return slot * (self._picture_bytes + self._latent_bytes)

    def _place(self, start: int, length: int) -> memoryview:
        if self._memory.buf is None:
            raise ValueError("the ring is closed")
        return self._memory.buf[start : start + length]

    def close(self) -> None:
        """Lets go of the memory; the owner also removes its name. Safe to repeat."""
        with contextlib.suppress(BufferError):  # a copy is being made: the mapping goes with it, the name goes now
            self._memory.close()
        if self._owner:
            self._owner = False
            self._memory.unlink()
