"""The surface: what a cell is painted with, what its shaded colour is made of, and what a pixel may choose among."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cutscene_model.decoder import Decoder
from cutscene_model.faces import FaceEncoder
from cutscene_model.greybox import ACTOR_CHANNELS, FIELD_CHANNELS, GLOBAL_CHANNELS
from cutscene_model.primitives import BOX_PART, HEAD_PART
from cutscene_model.surface import (
    GLOW,
    LEVEL_WIDTHS,
    AnchorBatch,
    GreyboxBatch,
    Materials,
    Surface,
    SurfaceEncoder,
    display,
)
from cutscene_model.volumes import GLOWS, UNTINTED, no_volumes
from small_scenes import ball_volume

COSTUMES, LOOKS = 5, 7
LIGHT = FIELD_CHANNELS.index("irradiance_r")
VOLUMES = ball_volume("crate/large", samples=5)
RED, WHITE = 5 * 5 * 5 - 1, 0  # samples of the ball's upper and lower half


def greybox(slot: int, part: int = BOX_PART, sample: int = WHITE) -> GreyboxBatch:
    """A frame that shows one thing everywhere, in a light of one half."""
    field = torch.zeros(1, len(FIELD_CHANNELS), 144, 256)
    field[:, LIGHT:] = 0.25
    slots, parts = (torch.full((1, 144, 256), value, dtype=torch.uint8) for value in (slot, part))
    samples = torch.full((1, 144, 256), sample, dtype=torch.int32)
    viewpoints, sheet = torch.tensor([[[0.0, 0.38, 5.0]]]).expand(1, 4, 3), torch.full((1, 3, 144, 256), 0.25)
    return GreyboxBatch(
        slots,
        parts,
        samples,
        field,
        torch.zeros(1, 4, ACTOR_CHANNELS),
        torch.zeros(1, GLOBAL_CHANNELS),
        viewpoints,
        sheet,
    )


def anchors() -> AnchorBatch:
    """Slot 1 is a knight, slot 5 the third look, tinted."""
    zeros = torch.zeros(1, 65, dtype=torch.int64)
    batch = AnchorBatch(zeros.clone(), zeros.clone(), zeros.clone(), zeros.clone(), torch.ones(1, 65, 3))
    batch.costume[0, 1] = 1
    batch.element_class[0, 5], batch.look[0, 5] = 1, 3
    batch.tint[0, 5] = torch.tensor([0.5, 1.0, 1.0])
    return batch


@pytest.fixture
def encoder() -> SurfaceEncoder:
    torch.manual_seed(0)
    return SurfaceEncoder(COSTUMES, LOOKS, VOLUMES)


def test_a_cell_has_its_samples_colour_times_its_slots_tint(encoder: SurfaceEncoder) -> None:
    looks = encoder.describe(anchors())
    for sample, color in ((WHITE, (0.5, 1.0, 1.0)), (RED, (0.5, 0.0, 0.0))):
        albedo, glows = encoder.materials(greybox(5, sample=sample), looks)
        torch.testing.assert_close(albedo[0, 0, 0], torch.tensor(color))
        assert not glows.any()


def test_skin_keeps_its_colour_and_flames_glow() -> None:
    volumes = replace(VOLUMES, paint=VOLUMES.paint.copy())
    volumes.paint[WHITE, 3], volumes.paint[RED, 3] = UNTINTED, GLOWS
    encoder = SurfaceEncoder(COSTUMES, LOOKS, volumes)
    looks = encoder.describe(anchors())
    albedo, glows = encoder.materials(greybox(5, sample=WHITE), looks)
    torch.testing.assert_close(albedo[0, 0, 0], torch.ones(3))
    assert not glows.any()
    assert encoder.materials(greybox(5, sample=RED), looks)[1].all()
    shaded = encoder(greybox(5, sample=RED), looks).shaded[0, :, 0, 0]
    expected = display((torch.tensor([0.5, 0.0, 0.0]) * (0.5 + GLOW)).clamp(max=1)) * 2 - 1
    torch.testing.assert_close(shaded, expected)


def test_what_has_no_volume_has_a_learnt_colour_of_its_slot(encoder: SurfaceEncoder) -> None:
    looks = encoder.describe(anchors())
    albedo, _ = encoder.materials(greybox(5, sample=-1), looks)
    torch.testing.assert_close(albedo[0, 0, 0], looks.plain[0, 5])
    assert Materials(no_volumes()).paint.shape == (1, 4)


def test_shaded_colour_follows_the_light(encoder: SurfaceEncoder) -> None:
    looks = encoder.describe(anchors())
    frame = greybox(5)
    dark = replace(frame, field=frame.field.clone())
    dark.field[:, LIGHT:] = 0
    with torch.no_grad():
        surface = encoder(frame, looks)
        assert encoder(dark, looks).shaded.max() == -1
    expected = display(torch.tensor([0.25, 0.5, 0.5])) * 2 - 1
    torch.testing.assert_close(surface.shaded[0, :, 0, 0], expected)
    assert [level.shape[1] for level in surface.levels] == list(LEVEL_WIDTHS)
    assert [tuple(level.shape[2:]) for level in surface.levels] == [(72, 128), (36, 64), (18, 32), (9, 16)]


def test_past_everything_the_background_is_seen_as_it_is(encoder: SurfaceEncoder) -> None:
    frame = greybox(0, part=0, sample=-1)
    frame.globals[0, 12:15] = torch.tensor([0.5, 0.02, 1.0])
    shaded = encoder(frame, encoder.describe(anchors())).shaded[0, :, 3, 3]
    torch.testing.assert_close(shaded, torch.tensor([0.0, -0.96, 1.0]))


def test_faces_are_painted_on_the_front_of_heads_only_and_follow_the_mood() -> None:
    torch.manual_seed(0)
    faces = FaceEncoder(COSTUMES)
    costume = anchors().costume
    white = torch.ones(1, 144, 256, 3)
    frame = greybox(1, HEAD_PART)
    frame.field[:, 1:4] = torch.tensor([0.1, 0.4, 0.5])[None, :, None, None]
    frame.field[:, 3, :72] = -0.5  # the upper half shows the back of the head
    with torch.no_grad():
        painted = faces(white, frame, costume)
        torch.testing.assert_close(painted[:, :72], white[:, :72])
        assert (painted[:, 72:] < 1).any()
        frame.actors[0, 0, 2] = 1.0
        assert not torch.allclose(faces(white, frame, costume), painted)
        frame.part.fill_(BOX_PART)
        torch.testing.assert_close(faces(white, frame, costume), white)


def test_display_is_the_srgb_curve() -> None:
    values = display(torch.tensor([0.0, 0.001, 0.2140, 1.0]))
    torch.testing.assert_close(values, torch.tensor([0.0, 0.01292, 0.5, 1.0]), atol=2e-4, rtol=0)


def test_a_new_decoder_shows_the_shaded_colours_with_edges_at_the_cells() -> None:
    # Until its detail is trained, a pixel is a mixture of its cell's colour and the four beside it, and nothing else.
    torch.manual_seed(0)
    decoder = Decoder()
    shaded = torch.zeros(1, 3, 144, 256)
    shaded[..., 128:] = 1.0
    levels = tuple(torch.zeros(1, width, 72 >> k, 128 >> k) for k, width in enumerate(LEVEL_WIDTHS))
    with torch.no_grad():
        picture = decoder(torch.zeros(1, 64, 9, 16), Surface(shaded, torch.zeros(1, 3), levels))
    assert picture.shape == (1, 3, 288, 512)
    torch.testing.assert_close(picture[..., : 2 * 127], torch.zeros(1, 3, 288, 2 * 127))
    right = picture[..., 2 * 129 :]
    assert right.min() > 0.8, "but for what little of the background, black here, shows before training"
    assert right.max() <= 1
