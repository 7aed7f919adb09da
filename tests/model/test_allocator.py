"""What the process keeps in memory between operations."""

from __future__ import annotations

import os

import pytest

from cutscene_model.allocator import PRIMITIVES_KEPT, keep_few_primitives


def test_few_primitives_are_kept_unless_the_environment_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LRU_CACHE_CAPACITY", raising=False)
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    keep_few_primitives()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"
    assert os.environ["LRU_CACHE_CAPACITY"] == str(PRIMITIVES_KEPT)
