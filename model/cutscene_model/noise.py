"""Counter-based noise: what a frame starts from depends on (session seed, frame index) and on nothing else."""

from __future__ import annotations

import numpy as np

from cutscene_model.scene import FloatArray


def frame_noise(seed: int, frame_index: int, shape: tuple[int, ...]) -> FloatArray:
    """Standard normal float32 of ``shape``, from Philox (Salmon et al. 2011) keyed by seed and frame."""
    key = np.array([seed & 0xFFFF_FFFF_FFFF_FFFF, frame_index], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    return generator.standard_normal(shape, dtype=np.float32)
