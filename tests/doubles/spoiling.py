"""Messages with their bytes damaged, as a broken client or a bad line would send them."""

from __future__ import annotations

import random


def spoiled(chance: random.Random, message: bytes) -> bytes:
    """Some bytes changed, cut off or put in, at one to seven places. ``message`` is not empty, nor is the result."""
    noise = bytearray(message)
    for _ in range(chance.randrange(1, 8)):
        place = chance.randrange(len(noise))
        match chance.randrange(3):
            case 0:
                noise[place] = chance.randrange(256)
            case 1:
                del noise[place + 1 :]
            case 2:
                noise[place:place] = chance.randbytes(3)
    return bytes(noise)
