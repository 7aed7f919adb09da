"""The surface: which texture a cell reads, what its shaded colour is made of, and what a pixel may choose among."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cutscene_model.decoder import Decoder
from cutscene_model.greybox import ACTOR_CHANNELS, GLOBAL_CHANNELS
from cutscene_model.primitives import BOX_PART, HEAD_PART, PART_COUNT
from cutscene_model.surface import (
    LEVEL_WIDTHS,
    AnchorBatch,
    GreyboxBatch,
    Surface,
    SurfaceEncoder,
    Textures,
    display,
)

COSTUMES, LOOKS = 5, 7


def greybox(slot: int, part: int, local: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> GreyboxBatch:
    """A frame that shows one thing everywhere."""
    field = torch.zeros(1, 18, 72, 128)
    field[:, 1:4] = torch.tensor(local)[None, :, None, None]
    field[:, 15:18] = 0.5
    slots, parts = (torch.full((1, 72, 128), value, dtype=torch.uint8) for value in (slot, part))
    return GreyboxBatch(slots, parts, field, torch.zeros(1, 4, ACTOR_CHANNELS), torch.zeros(1, GLOBAL_CHANNELS))


def anchors() -> AnchorBatch:
    """Slot 1 is a bare knight, slot 2 a knight with headgear, slot 5 the third look."""
    zeros = torch.zeros(1, 65, dtype=torch.int64)
    batch = AnchorBatch(zeros.clone(), zeros.clone(), zeros.clone(), zeros.clone(), torch.ones(1, 65, 3))
    batch.costume[0, 1:3] = 1
    batch.headgear[0, 2] = 1
    batch.element_class[0, 5], batch.look[0, 5] = 1, 3
    return batch


@pytest.fixture
def textures() -> Textures:
    torch.manual_seed(0)
    return Textures(COSTUMES, LOOKS, 4)


def touched(textures: Textures, frame: GreyboxBatch) -> set[int]:
    """The texture rows that drawing ``frame`` reads."""
    textures.zero_grad()
    textures(frame, textures.rows(anchors())).sum().backward()
    assert textures.texels.grad is not None
    return set((textures.texels.grad.abs().sum(dim=1).nonzero()[:, 0] // Textures.SIZE**2).tolist())


def test_every_box_face_of_a_look_has_its_own_texture(textures: Textures) -> None:
    parts = range(BOX_PART, PART_COUNT)  # six faces, and the further parts of furniture
    rows = [touched(textures, greybox(5, part)) for part in parts]
    assert rows == [{len(parts) * 2 + face} for face in range(len(parts))]


def test_every_bone_of_a_costume_has_its_own_and_headgear_makes_another(textures: Textures) -> None:
    bones = (PART_COUNT - BOX_PART) * LOOKS
    assert touched(textures, greybox(1, HEAD_PART)) == {bones + HEAD_PART}
    assert touched(textures, greybox(2, HEAD_PART)) == {bones + BOX_PART + HEAD_PART}


def test_where_nothing_is_seen_the_last_row_is_read(textures: Textures) -> None:
    (row,) = touched(textures, greybox(0, 0))
    assert (row + 1) * Textures.SIZE**2 == len(textures.texels)


def test_a_texel_is_read_where_it_lies_and_mixed_between(textures: Textures) -> None:
    with torch.no_grad():
        textures.texels.zero_()
        textures.mix.weight.fill_(1.0)
        textures.mix.bias.zero_()
        front = ((PART_COUNT - BOX_PART) * 2 + 5) * Textures.SIZE**2  # of the third look
        textures.texels[front + 3 * Textures.SIZE + 4] = 1.0
        step = 2 / (Textures.SIZE - 1)
        x, y = -1 + 4 * step, -1 + 3 * step
        at, half, beside = (
            textures(greybox(5, BOX_PART + 5, (x + away, y, 1.0)), textures.rows(anchors()))[0, 0, 0, 0]
            for away in (0.0, step / 2, step)
        )
    full = Textures.FEATURES * Textures.GAIN
    assert [float(value) for value in (at, half, beside)] == pytest.approx([full, full / 2, 0.0], abs=1e-3)


def test_shaded_colour_follows_the_light() -> None:
    torch.manual_seed(0)
    encoder = SurfaceEncoder(COSTUMES, LOOKS)
    looks = encoder.describe(anchors())
    frame = greybox(5, BOX_PART)
    dark = replace(frame, field=frame.field.clone())
    dark.field[:, 15:18] = 0
    with torch.no_grad():
        surface = encoder(frame, looks)
        assert encoder(dark, looks).shaded.max() == -1
    assert surface.shaded.min() > -1
    assert [level.shape[1] for level in surface.levels] == list(LEVEL_WIDTHS)
    assert [tuple(level.shape[2:]) for level in surface.levels] == [(72, 128), (36, 64), (18, 32), (9, 16)]


def test_display_is_the_srgb_curve() -> None:
    values = display(torch.tensor([0.0, 0.001, 0.2140, 1.0]))
    torch.testing.assert_close(values, torch.tensor([0.0, 0.01292, 0.5, 1.0]), atol=2e-4, rtol=0)


def test_a_new_decoder_shows_the_shaded_colours_with_edges_at_the_cells() -> None:
    # Until its detail is trained, a pixel is a mixture of its cell's colour and the four beside it, and nothing else.
    torch.manual_seed(0)
    decoder = Decoder()
    shaded = torch.zeros(1, 3, 72, 128)
    shaded[..., 64:] = 1.0
    levels = tuple(torch.zeros(1, width, 72 >> k, 128 >> k) for k, width in enumerate(LEVEL_WIDTHS))
    with torch.no_grad():
        picture = decoder(torch.zeros(1, 64, 9, 16), Surface(shaded, torch.zeros(1, 3), levels))
    assert picture.shape == (1, 3, 288, 512)
    torch.testing.assert_close(picture[..., : 4 * 63], torch.zeros(1, 3, 288, 4 * 63))
    right = picture[..., 4 * 65 :]
    assert right.min() > 0.8, "but for what little of the background, black here, shows before training"
    assert right.max() <= 1
