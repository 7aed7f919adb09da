"""Shapes from other people's meshes, and weights that start under other names."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from cutscene_model.faces import UNKNOWN_SKULL
from cutscene_model.loading import AUTOENCODER_FILE, DENOISER_FILE, SHIPPED_WEIGHTS, VOLUMES_FILE
from cutscene_model.manifest import read_manifest
from cutscene_model.scene import JOINTS
from cutscene_model.training.own_game.capture_folder import read_capture
from cutscene_model.training.own_game.errors import MeshesError
from cutscene_model.training.own_game.glb_reader import MAX_TRIANGLES, GlbFile
from cutscene_model.training.own_game.importing import import_capture, split_runs
from cutscene_model.training.own_game.meshes import fit_meshes, read_meshes, volumes_for
from cutscene_model.training.own_game.warm_start import (
    fit_plain_colors,
    known_skulls,
    plain_colors,
    remapped,
    source_rows,
    warm_model,
)
from cutscene_model.training.prepared import prepared_frames
from cutscene_model.vocabulary import Vocabulary, VocabularyError
from cutscene_model.volumes import Volumes, no_volumes, read_volumes
from small_meshes import CUBE, RIG, SIDES, write_glb
from small_scenes import actor
from toy_game import record


def write_list(folder: Path, more: str = "") -> Path:
    """A list of one look and one costume, whose head is a cube."""
    write_glb(folder / "crate.glb", 0.5 * CUBE, SIDES)
    write_glb(folder / "body.glb", 0.3 * CUBE + actor().joints[2] + (0, 0.3, 0), SIDES, RIG)
    joints = "\n".join(f'{name} = "rig_{name}"' for name in JOINTS)
    path = folder / "my-meshes.toml"
    path.write_text(
        f'[joints]\n{joints}\n[bones]\nhead = ["rig_neck"]\n[costumes.corsair]\nfile = "body.glb"\nlike = "knight"\n'
        f'[looks."toy/crate"]\nfile = "crate.glb"\nprop_box = [[-1, -1, -1], [1, 1, 1]]\n{more}'
    )
    return path


def test_a_list_of_meshes_becomes_shape_volumes(tmp_path: Path) -> None:
    meshes = read_meshes(write_list(tmp_path))
    assert meshes.like == {"corsair": "knight"}
    volumes = fit_meshes(meshes, no_volumes(), processes=1)
    assert volumes.names == ("toy/crate", "corsair:head")
    np.testing.assert_allclose(volumes.rest_joints, actor().joints, atol=1e-5)
    np.testing.assert_allclose(volumes.element_box[0], [0, 0, 0, 0.5, 0.5, 0.5], atol=1e-5)
    np.testing.assert_allclose(volumes.prop_box[0], [0, 0, 0, 1, 1, 1], atol=1e-5)
    end = int(volumes.sizes[0].prod())
    inside, paint = volumes.distance[:end] < 0, volumes.paint[:end]
    assert inside.mean() == pytest.approx(1.0 / float((volumes.sizes[0] * volumes.spacing[0]).prod()), rel=0.2)
    near = paint.any(axis=1)
    assert (paint[near][:, :3] == (0, 255, 0)).all()


def test_a_body_of_another_build_is_brought_into_the_volumes_it_joins(tmp_path: Path) -> None:
    shipped = read_volumes(SHIPPED_WEIGHTS / VOLUMES_FILE)
    volumes = fit_meshes(read_meshes(write_list(tmp_path)), shipped, processes=1)
    np.testing.assert_array_equal(volumes.rest_joints, shipped.rest_joints)
    assert volumes.pose_prior is None  # it was learnt from another build
    joined = volumes_for(Vocabulary(("corsair", "mage"), ("toy/crate", "barrel/large")), volumes, shipped)
    assert {name.partition(":")[0] for name in joined.names} == {"corsair", "mage", "toy/crate", "barrel/large"}
    assert joined.names.index("toy/crate") == 0
    place, whole = joined.index["barrel/large"], shipped.index["barrel/large"]
    first, there = int(joined.first[place]), int(shipped.first[whole])
    count = int(shipped.sizes[whole].prod())
    np.testing.assert_array_equal(joined.paint[first : first + count], shipped.paint[there : there + count])


def test_without_meshes_the_base_s_shapes_serve_the_names_that_are_shared() -> None:
    shipped = read_volumes(SHIPPED_WEIGHTS / VOLUMES_FILE)
    joined: Volumes = volumes_for(Vocabulary((), ("barrel/large", "toy/crate")), no_volumes(), shipped)
    assert joined.names == ("barrel/large",)
    assert joined.pose_prior is shipped.pose_prior


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("[things]\n", "things"),
        ('[looks."x y"]\nfile = "crate.glb"\n', "looks.x y"),
        ('[looks.a]\nfile = "none.glb"\n', "looks.a.file"),
        ('[looks.a]\nfile = "crate.glb"\nsize = 3\n', "looks.a.size"),
        ('[looks.a]\nfile = "crate.glb"\nbox = [[0, 0, 0], [1, 0, 1]]\n', "looks.a.box"),
        ('[costumes.b]\nfile = "body.glb"\nheadgear = "hat"\n', "costumes.b.headgear"),
        ('[looks.a]\nfile = "crate.glb"\nglows = "false"\n', "looks.a.glows"),
        ('[looks.a]\nfile = "crate.glb"\nnode = 3\n', "looks.a.node"),
        ('[looks.a]\nfile = "crate.glb"\nlike = 3\n', "looks.a.like"),
    ],
)
def test_a_mistake_in_the_list_is_named(tmp_path: Path, more: str, field: str) -> None:
    with pytest.raises(MeshesError) as caught:
        read_meshes(write_list(tmp_path, more))
    assert caught.value.field == field


@pytest.mark.parametrize("said", ["3", "{offset = [0, 0, 0]}", '{joint = "rig_head", at = 1}', "[1, 2]"])
def test_a_joint_that_is_none_is_named(tmp_path: Path, said: str) -> None:
    path = write_list(tmp_path)
    path.write_text(path.read_text().replace('head_top = "rig_head_top"', f"head_top = {said}"))
    with pytest.raises(MeshesError) as caught:
        read_meshes(path)
    assert caught.value.field == "joints.head_top"


@pytest.mark.parametrize("text", ["looks = 3", "costumes = []", "joints = 'x'"])
def test_a_part_of_the_list_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.toml").write_text(text)
    with pytest.raises(MeshesError, match="its tables are"):
        read_meshes(tmp_path / "list.toml")


def test_a_bone_s_joint_that_no_file_has_is_named(tmp_path: Path) -> None:
    """It would leave the body without that part, and say nothing."""
    path = write_list(tmp_path)
    path.write_text(path.read_text().replace('head = ["rig_neck"]', 'head = ["rig_neck", "rig_nekc"]'))
    with pytest.raises(MeshesError, match=r"bones\.head.*rig_nekc"):
        fit_meshes(read_meshes(path), no_volumes(), processes=1)


def test_a_costume_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    path.write_text(path.read_text().replace('like = "knight"', 'leave_out = ["body"]'))
    with pytest.raises(MeshesError, match=r"leave_out.*nothing"):
        fit_meshes(read_meshes(path), no_volumes(), processes=1)


def test_a_mirrored_node_is_solid_too(tmp_path: Path) -> None:
    """Game tools mirror by a scale of -1, which turns the triangles' sides inside out if it is not noticed."""
    for name, scale in (("plain", [1, 1, 1]), ("mirrored", [-1, 1, 1])):
        nodes = [{"name": "box", "mesh": 0, "scale": scale}]
        (piece,) = GlbFile(write_glb(tmp_path / f"{name}.glb", CUBE, SIDES, nodes=nodes, skins=[])).still()
        outward = np.einsum("tij,tij->ti", piece.normals, piece.corners)
        assert (outward > 0).all(), name
        edges = piece.corners[:, 1:] - piece.corners[:, :1]
        turned = np.einsum("ti,ti->t", np.cross(edges[:, 0], edges[:, 1]), piece.corners[:, 0])
        assert (turned > 0).all(), name


def test_a_mesh_shown_by_many_nodes_counts_as_often(tmp_path: Path) -> None:
    nodes = [{"name": f"n{at}", "mesh": 0} for at in range(MAX_TRIANGLES // len(SIDES) + 1)]
    with pytest.raises(MeshesError, match="more triangles"):
        GlbFile(write_glb(tmp_path / "x.glb", CUBE, SIDES, nodes=nodes, skins=[])).still()


def test_joints_that_are_missing_are_named(tmp_path: Path) -> None:
    path = write_list(tmp_path)
    path.write_text(path.read_text().replace('toe_l = "rig_toe_l"\n', ""))
    with pytest.raises(MeshesError, match="missing: toe_l"):
        read_meshes(path)
    path.write_text(write_list(tmp_path).read_text().replace("rig_toe_l", "rig_claw"))
    with pytest.raises(MeshesError, match=r"joints\.toe_l.*rig_claw"):
        fit_meshes(read_meshes(path), no_volumes(), processes=1)


def test_centimetres_are_noticed(tmp_path: Path) -> None:
    meshes = read_meshes(write_list(tmp_path))
    write_glb(tmp_path / "body.glb", 30 * CUBE, SIDES, RIG)
    with pytest.raises(MeshesError, match="in metres"):
        fit_meshes(meshes, no_volumes(), processes=1)
    write_glb(tmp_path / "crate.glb", 5000 * CUBE, SIDES)
    with pytest.raises(MeshesError, match=r"looks\.toy/crate"):
        fit_meshes(meshes, no_volumes(), processes=1)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.glb"
    path.write_bytes(b"solid cube, but as text")
    with pytest.raises(MeshesError, match="not a binary glTF"):
        GlbFile(path)
    write_glb(path, CUBE, SIDES, extensionsRequired=["KHR_draco_mesh_compression"])
    with pytest.raises(MeshesError, match="draco"):
        GlbFile(path)
    write_glb(path, CUBE, np.full((1, 3), 200))
    with pytest.raises(MeshesError, match="past the vertices"):
        GlbFile(path).still()
    write_glb(path, CUBE, SIDES)
    with pytest.raises(MeshesError, match="no node 'mast'"):
        GlbFile(path).still("mast")


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_file_that_is_damaged_is_refused_and_nothing_else(tmp_path_factory: Any, data: Any) -> None:
    path = write_glb(tmp_path_factory.mktemp("glb") / "x.glb", CUBE, SIDES, RIG)
    text = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(20, len(text) - 1))] = data.draw(st.sampled_from(b"0159-[{\x00x"))
    path.write_bytes(text)
    with contextlib.suppress(MeshesError):
        glb = GlbFile(path)
        glb.painted([*glb.still(), *glb.skinned()])


def test_a_node_that_hangs_on_itself_is_refused(tmp_path: Path) -> None:
    nodes = [{"name": "body", "mesh": 0, "children": [1]}, {"name": "loop", "children": [0]}]
    with pytest.raises(MeshesError, match="hangs on itself"):
        GlbFile(write_glb(tmp_path / "x.glb", CUBE, SIDES, nodes=nodes)).still()


def test_rows_go_to_the_names_they_belong_to() -> None:
    rows = source_rows(("new", "b", "kin"), ("a", "b"), {"kin": "a"})
    assert rows == [None, 1, 0]
    table = torch.tensor([[0.0], [2.0], [4.0]])
    assert remapped(table, rows).flatten().tolist() == [0, 3, 4, 2]
    pairs = torch.arange(6.0)[:, None]
    assert remapped(pairs, [1, 0], 2).flatten().tolist() == [0, 1, 4, 5, 2, 3]
    with pytest.raises(ValueError, match="like 'c'"):
        source_rows(("new",), ("a",), {"new": "c"})


def test_a_warm_model_keeps_what_the_names_share() -> None:
    base = read_manifest(SHIPPED_WEIGHTS)
    vocabulary = Vocabulary(("corsair", "mage"), ("barrel/large", "toy/crate"))
    model = warm_model(SHIPPED_WEIGHTS, base, vocabulary, no_volumes(), {"toy/crate": "crate/large"})
    whole = warm_model(SHIPPED_WEIGHTS, base, Vocabulary(base.costumes, base.looks), no_volumes(), {})
    looks, all_looks = (one.autoencoder.surface.slots.look.weight for one in (model, whole))
    torch.testing.assert_close(looks[1], all_looks[1 + base.looks.index("barrel/large")])
    torch.testing.assert_close(looks[2], all_looks[1 + base.looks.index("crate/large")])
    wearers, all_wearers = (one.autoencoder.surface.faces.wearer.weight for one in (model, whole))
    torch.testing.assert_close(wearers[2], all_wearers[1 + base.costumes.index("mage")])
    torch.testing.assert_close(wearers[1], all_wearers[1:].mean(dim=0))
    torch.testing.assert_close(model.denoiser.state_dict(), whole.denoiser.state_dict())


def test_what_has_no_shape_takes_its_colour_from_the_pictures(tmp_path: Path) -> None:
    vocabulary = import_capture(split_runs(read_capture(record(tmp_path / "capture")), ["run-1"]), tmp_path / "data")
    frames = prepared_frames(tmp_path / "data" / "train", no_volumes(), vocabulary=vocabulary)
    model = warm_model(SHIPPED_WEIGHTS, read_manifest(SHIPPED_WEIGHTS), vocabulary, no_volumes(), {}).autoencoder
    seen = plain_colors(frames)
    planks = "look", 1 + vocabulary.looks.index("toy/planks")
    assert planks in seen
    wanted = {planks: np.array([0.2, 0.5, 0.7], np.float32)}
    before = model.surface.slots.costume.weight.detach().clone()
    fit_plain_colors(model, frames, wanted)
    anchors = frames.crops(np.array([0]), np.random.default_rng(0), (2, 2)).anchors
    slot = int((anchors.look[0] == planks[1]).nonzero()[0])
    shown = model.surface.describe(anchors).plain[0, slot].detach().numpy()
    np.testing.assert_allclose(shown, wanted[planks], atol=0.06)
    torch.testing.assert_close(model.surface.slots.costume.weight, before)


def test_what_a_base_lacks_starts_fresh_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (AUTOENCODER_FILE, DENOISER_FILE):
        state = load_file(SHIPPED_WEIGHTS / name)
        for lacking in [key for key in state if key.startswith(("decoder.bottom", "encoder.layers.0"))]:
            del state[lacking]
        save_file(state, tmp_path / name)
    base = read_manifest(SHIPPED_WEIGHTS)
    warm_model(tmp_path, base, Vocabulary(base.costumes, base.looks), no_volumes(), {})
    assert "decoder.bottom.weight" in capsys.readouterr().out


@pytest.mark.parametrize("names", [("a", "a"), ("a b",), ("",), tuple(f"n{k}" for k in range(255))])
def test_names_that_no_model_can_have_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(VocabularyError):
        Vocabulary((), names)


def test_nobody_gets_the_skull_of_whoever_stood_in_their_row() -> None:
    base = torch.stack([torch.full((2, 2), value, dtype=torch.int16) for value in (UNKNOWN_SKULL, 10, 20)])
    found = known_skulls(base.float(), ("robot", "knight"), ("mage", "knight"))  # as many names as before
    assert found.dtype == torch.int16
    assert [int(row[0, 0]) for row in found] == [UNKNOWN_SKULL, UNKNOWN_SKULL, 20]
