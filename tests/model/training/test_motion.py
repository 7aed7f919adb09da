"""Poses come out of the packs as they are: one skeleton for everybody, exact rest pose, the actor's own left."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cutscene_model.scene import JOINT_INDEX
from cutscene_model.training.assets import ALL
from cutscene_model.training.costumes import FILES, costume_glb
from cutscene_model.training.library import export
from cutscene_model.training.motion import joints_for, load_rig
from cutscene_model.training.set_mesh import SetMeshes

LIBRARY = Path(__file__).resolve().parents[3] / "clients" / "python" / "cutscene_client" / "library"


def test_all_costumes_share_skeleton_and_clips(assets: Path) -> None:
    rig = load_rig(assets)
    first = costume_glb(assets, "knight")
    for costume in FILES:
        glb = costume_glb(assets, costume)
        joints = glb.document["skins"][0]["joints"]
        assert [glb.nodes[node]["name"] for node in joints] == rig.names
        assert [a["name"] for a in glb.document["animations"]] == [a["name"] for a in first.document["animations"]]
        for index in (0, 36, 70):  # some clips, value by value
            for a, b in zip(
                glb.document["animations"][index]["samplers"],
                first.document["animations"][index]["samplers"],
                strict=True,
            ):
                np.testing.assert_allclose(glb.accessor(a["output"]), first.accessor(b["output"]), atol=1e-6)


def test_the_rest_pose_is_the_bind_pose(assets: Path) -> None:
    rig = load_rig(assets)
    skinning = rig.pose("T-Pose", 0.0) @ rig.inverse_binds
    np.testing.assert_allclose(skinning, np.broadcast_to(np.eye(4), skinning.shape), atol=1e-4)


def test_left_is_the_actors_own_left(assets: Path) -> None:
    ahead = joints_for(assets, "Idle", 0.0)
    turned = joints_for(assets, "Idle", 0.0, (2.0, 0.0, 1.0), np.pi / 2)
    assert ahead[JOINT_INDEX["hand_l"], 0] > 0.3, "facing +Z, the left hand is at +X"
    assert ahead[JOINT_INDEX["face"], 2] > 0.3
    assert turned[JOINT_INDEX["hand_l"], 2] < 1.0 - 0.3, "facing +X, the left hand is at -Z"
    assert turned[JOINT_INDEX["face"], 0] > 2.3
    assert ahead[:, 1].max() == pytest.approx(2.15, abs=0.1)


def test_looping_clips_wrap_and_others_hold(assets: Path) -> None:
    rig = load_rig(assets)
    walk, death = rig.clips["Walking_A"].duration, rig.clips["Death_A"].duration
    np.testing.assert_allclose(rig.pose("Walking_A", 0.3), rig.pose("Walking_A", 0.3 + 2 * walk), atol=1e-9)
    np.testing.assert_array_equal(rig.pose("Death_A", death), rig.pose("Death_A", death + 5.0))


def test_the_asset_table_has_the_meshes_bounds(assets: Path) -> None:
    meshes = SetMeshes(assets)
    for look in ALL:
        positions = meshes.look_mesh(look.name)[0].positions
        np.testing.assert_allclose(positions.min(axis=0), look.low, atol=0.04, err_msg=look.name)
        np.testing.assert_allclose(positions.max(axis=0), look.high, atol=0.04, err_msg=look.name)


def test_the_shipped_library_is_what_the_packs_give(assets: Path, tmp_path: Path) -> None:
    for fresh in export(assets, tmp_path):
        shipped = LIBRARY / fresh.name
        if fresh.suffix == ".json":
            assert json.loads(fresh.read_text()) == json.loads(shipped.read_text()), fresh.name
        else:
            with np.load(fresh, allow_pickle=False) as new, np.load(shipped, allow_pickle=False) as old:
                assert new.files == old.files
                for name in new.files:
                    np.testing.assert_array_equal(new[name], old[name], err_msg=name)
