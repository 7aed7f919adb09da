"""Faces' marks lie on a sheet before the skull: seen aslant they move, and noses and fringes hide them."""

from __future__ import annotations

import pytest
import torch

from cutscene_model.faces import LIFTS, SKULL_STEP, FaceEncoder

FORWARD = 0.3  # metres: where the skull is, everywhere
EYE_LIFT = LIFTS[1][1]


@pytest.fixture
def faces() -> FaceEncoder:
    encoder = FaceEncoder(costumes=2)
    encoder.skulls[1] = round(FORWARD / SKULL_STEP)  # of the second nothing is known
    return encoder


def on_marks(faces: FaceEncoder, seen: list[float], eye: list[float], wearer: int = 1) -> tuple[list[float], bool]:
    place, hidden = faces.on_marks(torch.tensor([seen]), torch.tensor([eye]), torch.tensor([wearer]))
    return place[0].tolist(), bool(hidden[0])


def test_from_the_front_a_mark_lies_over_what_is_seen(faces: FaceEncoder) -> None:
    place, hidden = on_marks(faces, [0.1, 0.35, FORWARD], [0.1, 0.35, 3.0])
    assert not hidden
    assert place == pytest.approx([0.1, 0.35], abs=1e-4)


@pytest.mark.parametrize("slant", [-2.0, -0.5, 0.5, 2.0])
def test_aslant_the_way_to_the_skull_passes_the_sheet_beside_it(faces: FaceEncoder, slant: float) -> None:
    place, hidden = on_marks(faces, [0.1, 0.35, FORWARD], [0.1 + slant, 0.35, FORWARD + 1])
    assert not hidden
    assert place == pytest.approx([0.1 + slant * EYE_LIFT, 0.35], abs=2e-4)


def test_what_lies_before_the_sheet_hides_it(faces: FaceEncoder) -> None:
    assert not on_marks(faces, [0.0, 0.35, FORWARD + EYE_LIFT - 0.005], [0.0, 0.35, 3.0])[1]
    assert on_marks(faces, [0.0, 0.35, FORWARD + EYE_LIFT + 0.005], [0.0, 0.35, 3.0])[1]


def test_without_a_known_skull_marks_are_painted_on_what_is_seen(faces: FaceEncoder) -> None:
    place, hidden = on_marks(faces, [0.1, 0.35, 0.4], [2.0, 0.35, 1.0], wearer=2)
    assert not hidden
    assert place == pytest.approx([0.1, 0.35])


def test_skulls_survive_any_precision(faces: FaceEncoder) -> None:
    before = on_marks(faces, [0.1, 0.35, FORWARD], [1.1, 0.35, FORWARD + 1])
    assert on_marks(faces.to(torch.bfloat16), [0.1, 0.35, FORWARD], [1.1, 0.35, FORWARD + 1]) == before
