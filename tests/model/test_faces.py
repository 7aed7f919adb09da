"""Faces' marks lie on a sheet before the skull: seen aslant they move, and noses and fringes hide them."""

from __future__ import annotations

import pytest
import torch

from cutscene_model.anchors import anchor_table
from cutscene_model.faces import LIFTS, SKULL_STEP, FaceEncoder
from cutscene_model.greybox import GreyboxRaster
from cutscene_model.loading import load_engine
from cutscene_model.marks import cast_of, find_marked, shown
from cutscene_model.tensors import anchor_batch, greybox_batch
from small_scenes import stage, state

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


def test_the_painter_is_asked_only_where_marks_may_be() -> None:
    engine = load_engine(precision="float32")
    coder = engine.autoencoder
    greybox = greybox_batch([GreyboxRaster(stage(), engine.volumes).draw(state())], torch.device("cpu"))
    table = anchor_table(stage(), engine.manifest.costumes, engine.manifest.looks)
    costume = anchor_batch([table], torch.device("cpu")).costume
    seen, cast = shown(greybox), cast_of(greybox, costume)
    sought = find_marked(coder.surface.faces, seen, cast)
    albedo = torch.full((1, 144, 256, 3), 0.5)
    with torch.inference_mode():
        painted = coder.surface.faces(albedo, greybox, costume)
        coder.surface.faces.marked.fill_(1)
        everywhere = find_marked(coder.surface.faces, seen, cast)
        assert 0 < len(sought.at) < 0.6 * len(everywhere.at)
        assert set(sought.at) <= set(everywhere.at)
        torch.testing.assert_close(coder.surface.faces(albedo, greybox, costume), painted, atol=0.01, rtol=0)
        assert (painted != albedo).any()


def test_marks_are_found_in_every_mood_where_the_painter_covers(faces: FaceEncoder) -> None:
    torch.nn.init.constant_(faces.paint.bias, -9.0)  # bare,
    faces.find_marks()
    assert not faces.marked.any()
    torch.nn.init.constant_(faces.paint.bias, 3.0)  # or painted all over
    faces.find_marks()
    assert faces.marked.all()
