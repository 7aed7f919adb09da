"""What is written is read again, bit by bit, and by others too: the formats are the well-known ones."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile

import msgpack
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from cutscene_model.scene import ActorState, Camera, Lights, PointLight, PropState, SceneState
from cutscene_server.keyframes import LockstepStates, interpolate
from cutscene_server.packed_scene import pack_stage, pack_state, unpack_stage, unpack_state
from cutscene_server.session_file.layout import MAX_STAGE_BYTES, MAX_STATE_BYTES
from cutscene_server.terms import Codec, PixelDigest
from cutscene_server.wire.scene import read_state
from cutscene_server.wire.stored import check_state
from cutscene_server.wire.violations import Violations
from messages import scene_state

from .samples import DRAWN, ENVIRONMENT, MODEL, NAMES, Parts, Sample, read, sample, written


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_session_is_read_as_it_was_written(batch: int) -> None:
    session = sample()
    assert read(written(session, batch)) == session


def test_a_session_without_frames_or_turns() -> None:
    session = dataclasses.replace(sample(), turns=[], frames=[])
    assert read(written(session)) == session


def test_terms_of_every_kind_are_kept() -> None:
    session = sample()
    for terms in (
        dataclasses.replace(session.terms, codec=Codec.RAW_RGB, frame_credit=1, background=True),
        dataclasses.replace(session.terms, pixel_digest=PixelDigest.BLAKE3),
        dataclasses.replace(session.terms, fps=float(np.float32(23.976)), tier="draft", jpeg_quality=1, seed=0),
    ):
        frames = dataclasses.replace(session, terms=terms, turns=session.turns[:1], frames=session.frames[:7])
        assert read(written(frames)) == frames


def test_this_server_s_limit_lowers_the_budget_that_the_other_one_allowed() -> None:
    session = sample()
    assert read(written(session), max_frames=50).terms.frame_budget == 50


def test_the_file_is_what_its_formats_say() -> None:
    session = sample()
    file = written(session)
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(NAMES)
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        latents = safetensors.numpy.load(archive.read("latents.safetensors"))["latents"]
        manifest = json.loads(archive.read("manifest.json"))
        (opened, *_) = msgpack.Unpacker(io.BytesIO(archive.read("session.msgpack")))
    assert latents.shape == (DRAWN, *MODEL.latent_shape)
    assert latents.dtype == np.float16
    assert latents.tobytes() == b"".join(frame.latent for frame in session.frames)
    assert (manifest["format"], manifest["format_version"]) == ("cutscene-session", 1)
    assert (manifest["frames"], manifest["turns"], manifest["environment"]) == (DRAWN, 3, ENVIRONMENT)
    assert manifest["model"] == {"name": MODEL.name, "digest": MODEL.digest}
    assert opened["seed"] == 1 << 63


def test_a_file_that_was_taken_apart_and_put_together_by_other_tools_is_read() -> None:
    session = sample()
    assert read(Parts.of(written(session)).packed()) == session


def test_a_frame_costs_its_latent_and_its_state() -> None:
    session = sample()
    longer = dataclasses.replace(session, turns=session.turns[:1], frames=session.frames[:7])
    shorter = dataclasses.replace(longer, turns=[], frames=session.frames[:1])
    a_frame = (len(written(longer)) - len(written(shorter))) / 6
    first = session.frames[0]
    assert a_frame < len(first.latent) + len(first.packed_state) + 100


def largest_state() -> SceneState:
    """As much as a state can say, in numbers of many digits."""
    third = 1 / 3
    rotation = unpack_state(sample().frames[3].packed_state).camera.rotation
    return SceneState(
        Camera((third, third, third), rotation, third),
        tuple(ActorState(index, np.full((19, 3), third, np.float32), 4, third, third) for index in range(2)),
        tuple(PropState(index, (third, third, third), rotation) for index in range(2)),
        Lights(points=(PointLight((third, third, third), (third, third, third), third),) * 4),
    )


def test_states_and_sets_of_the_largest_size_fit_the_limits() -> None:
    session, state = sample(), largest_state()
    whole = dataclasses.replace(
        state, actors=tuple(state.actors[0] for _ in range(4)), props=tuple(state.props[0] for _ in range(16))
    )
    assert len(pack_state(whole)) < MAX_STATE_BYTES
    stage = unpack_stage(session.packed_stage)
    assert len(pack_stage(dataclasses.replace(stage, elements=stage.elements[-1:] * 320))) < MAX_STAGE_BYTES
    packed = pack_state(state)
    frames = [dataclasses.replace(frame, packed_state=packed) for frame in session.frames]
    run = LockstepStates((packed,) * 5).packed()
    turns = [session.turns[0], dataclasses.replace(session.turns[1], packed_run=run)]
    large = Sample(session.terms, session.packed_stage, turns, frames)
    assert read(written(large)) == large


@settings(max_examples=60, deadline=None)
@given(
    amount=st.floats(0, 1),
    angles=st.lists(st.floats(-3.1, 3.1), min_size=2, max_size=2),
    places=st.lists(st.floats(-1000, 1000, width=32), min_size=2, max_size=2),
)
def test_whatever_lies_between_two_of_a_client_s_states_is_taken(
    amount: float, angles: list[float], places: list[float]
) -> None:
    terms = sample().terms
    states = []
    for angle, place in zip(angles, places, strict=True):
        message = scene_state(x=place, points=1)
        message.camera.rotation.y, message.camera.rotation.w = float(np.sin(angle / 2)), float(np.cos(angle / 2))
        message.lights.sun_direction.x, message.lights.sun_direction.y = float(np.sin(angle)), float(np.cos(angle))
        message.actors[0].joints[0] = place
        violations = Violations()
        states.append(read_state(violations, "state", message, terms.names))
        assert not violations.found
    check_state(pack_state(interpolate(states[0], states[1], amount)), terms.names)
