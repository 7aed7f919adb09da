"""Every field of every request, bent out of shape: a typed error that names it, and the server goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2
from messages import keyframed_turn, lockstep_turn, open_message, scene_state
from raw_client import RawStream, details

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAN, INFINITY = math.nan, math.inf


@dataclass(frozen=True)
class Case:
    """One way to spoil a message, and the field that must be named for it."""

    field: str
    spoil: Callable[[Any], object]
    says: str = ""  # part of the description

    def __str__(self) -> str:
        return self.field + (f" {self.says}" if self.says else "")


def put(path: str, value: Any) -> Callable[[Any], None]:
    """Sets a field by its path inside the message: "cast[0].tint.r"."""

    def spoil(message: Any) -> None:
        *parents, name = path.replace("[", ".").replace("]", "").split(".")
        for part in parents:
            message = message[int(part)] if part.isdigit() else getattr(message, part)
        if name.isdigit():
            message[int(name)] = value
        else:
            setattr(message, name, value)

    return spoil


def clear(path: str) -> Callable[[Any], None]:
    def spoil(message: Any) -> None:
        *parents, name = path.replace("[", ".").replace("]", "").split(".")
        for part in parents:
            message = message[int(part)] if part.isdigit() else getattr(message, part)
        message.ClearField(name)

    return spoil


def repeat(path: str, count: int) -> Callable[[Any], None]:
    """Makes a repeated field ``count`` long, all of them like the first."""

    def spoil(message: Any) -> None:
        for part in path.split("."):
            message = getattr(message, part)
        first = message[0]
        message.MergeFrom([first] * (count - len(message)))

    return spoil


def numbers(path: str, low: float, high: float) -> list[Case]:
    """The ways in which a number with a range can be wrong."""
    wrong = (NAN, INFINITY, -INFINITY, low - 0.01 * max(1.0, abs(low)), high * 1.01)
    return [Case(path, put(path, value), "allowed are") for value in wrong]


OPEN_CASES = [
    Case("model", put("model", "no-such-model"), "plays synthetic"),
    Case("video", put("video.width", 100), "64x32"),
    Case("video", put("video.height", 32), "found 0x32"),
    Case("video.codec", put("video.codec", 9)),
    Case("video.jpeg_quality", put("video.jpeg_quality", 101)),
    Case("video.pixel_digest", put("video.pixel_digest", 3), "allowed are 0 to 2"),
    *[Case("fps", put("fps", value)) for value in (0.5, 61.0, -1.0, NAN, INFINITY)],
    Case("tier", put("tier", pb.TIER_HIGH), "draft, standard"),
    Case("tier", put("tier", 17)),
    Case("pacing", put("pacing", 3)),
    Case("lowest_tier", put("lowest_tier", pb.TIER_HIGH), "draft, standard"),
    Case(
        "lowest_tier",
        lambda message: message.MergeFrom(pb.Open(tier=pb.TIER_DRAFT, lowest_tier=pb.TIER_STANDARD)),
        "above the session's tier",
    ),
    Case("frame_credit", put("frame_credit", 257)),
    Case("frame_budget", put("frame_budget", 1 << 40)),
    Case("cast", repeat("cast", 5), "found 5"),
    Case("cast", repeat("cast", 100_000), "found 100000"),
    *[Case("cast[1].id", put("cast[1].id", value)) for value in ("", "a b", "é", "x" * 65, "x\n")],
    Case("cast[1].id", put("cast[1].id", "actor-0"), "twice"),
    Case("cast[0].costume", put("cast[0].costume", "wizard"), "ListModels"),
    *numbers("cast[0].tint.r", 0.2, 1.5),
    *numbers("cast[0].tint.g", 0.2, 1.5),
    *numbers("cast[0].tint.b", 0.2, 1.5),
    *[case for part in ("head", "torso", "arms", "legs") for case in numbers(f"cast[0].build.{part}", 0.02, 2.0)],
    Case("set.elements", repeat("set.elements", 321), "found 321"),
    Case("set.elements", repeat("set.elements", 200_000), "found 200000"),
    Case("set.elements[0].element_class", put("set.elements[0].element_class", 0)),
    Case("set.elements[0].element_class", put("set.elements[0].element_class", 14)),
    Case("set.elements[0].look", put("set.elements[0].look", "floor/lava"), "ListModels"),
    Case("set.elements[0].shape", clear("set.elements[0].plane"), "missing"),
    Case("set.elements[0].part", put("set.elements[0].part", 8)),
    *numbers("set.elements[0].tint.b", 0.2, 1.5),
    *numbers("set.elements[0].plane.half_width", 0.001, 200.0),
    *numbers("set.elements[0].plane.half_depth", 0.001, 200.0),
    Case("set.elements[0].plane.center", clear("set.elements[0].plane.center"), "missing"),
    Case("set.elements[0].plane.rotation", put("set.elements[0].plane.rotation.x", 2.0), "length 2"),
    Case("set.elements[0].plane.rotation", put("set.elements[0].plane.rotation.w", NAN)),
    Case("set.elements[1].box.center", clear("set.elements[1].box.center"), "missing"),
    *numbers("set.elements[1].box.center.x", -1000.0, 1000.0),
    Case("set.elements[1].box.half_extent", clear("set.elements[1].box.half_extent"), "missing"),
    *numbers("set.elements[1].box.half_extent.y", 0.001, 200.0),
    Case("set.elements[1].box.rotation", put("set.elements[1].box.rotation.x", 0.0), "length 0"),
    Case("set.props", repeat("set.props", 17), "found 17"),
    Case("set.props[0].id", put("set.props[0].id", "")),
    Case("set.props[1].id", put("set.props[1].id", "prop-0"), "twice"),
    Case("set.props[0].element_class", put("set.props[0].element_class", 99)),
    Case("set.props[0].look", put("set.props[0].look", "")),
    Case("set.props[0].half_extent", clear("set.props[0].half_extent"), "missing"),
    *numbers("set.props[0].half_extent.z", 0.001, 20.0),
    *numbers("set.props[0].tint.r", 0.2, 1.5),
]


def many_looks(message: pb.Open) -> None:
    for number in range(61):
        element = message.set.elements.add()
        element.CopyFrom(message.set.elements[0])
        element.tint.CopyFrom(scene_pb2.Color(r=0.5 + number / 100, g=1.0, b=1.0))


OPEN_CASES.append(Case("set", many_looks, "at most 60"))

STATE_CASES = [
    Case("camera", clear("camera"), "missing"),
    Case("camera.position", clear("camera.position"), "missing"),
    *numbers("camera.position.x", -1000.0, 1000.0),
    *numbers("camera.position.y", -1000.0, 1000.0),
    *numbers("camera.position.z", -1000.0, 1000.0),
    Case("camera.rotation", clear("camera.rotation"), "missing"),
    Case("camera.rotation", put("camera.rotation.w", 0.0), "length 0"),
    Case("camera.rotation", put("camera.rotation.w", 1.01), "length 1.01"),
    Case("camera.rotation", put("camera.rotation.y", NAN)),
    Case("camera.rotation", put("camera.rotation.y", INFINITY)),
    Case("camera.rotation", put("camera.rotation.y", 3e38)),
    *numbers("camera.vertical_fov", 0.1, 2.5),
    Case("camera.vertical_fov", put("camera.vertical_fov", 0.0)),
    Case("actors", repeat("actors", 5), "found 5"),
    Case("actors", repeat("actors", 10_000), "found 10000"),
    Case("actors[0].cast_id", put("actors[0].cast_id", "nobody"), "actor-0, actor-1"),
    Case("actors[0].cast_id", put("actors[0].cast_id", "")),
    Case("actors[1].cast_id", repeat("actors", 2), "twice"),
    Case("actors[0].joints", lambda state: state.actors[0].joints.pop(), "found 56"),
    Case("actors[0].joints", lambda state: state.actors[0].joints.extend([0.0] * 100_000), "found 100057"),
    Case("actors[0].joints", clear("actors[0].joints"), "found 0"),
    Case("actors[0].joints[13]", put("actors[0].joints[13]", NAN), "face y"),
    Case("actors[0].joints[0]", put("actors[0].joints[0]", -INFINITY), "hips x"),
    Case("actors[0].joints[56]", put("actors[0].joints[56]", 1001.0), "toe_r z"),
    Case("actors[0].emotion", put("actors[0].emotion", 7)),
    Case("actors[0].emotion", put("actors[0].emotion", -1)),
    Case("actors[0].emotion", put("actors[0].emotion", scene_pb2.EMOTION_SURPRISE), "not an emotion of this model"),
    *numbers("actors[0].intensity", 0.0, 1.0),
    *numbers("actors[0].mouth_open", 0.0, 1.0),
    Case("props", repeat("props", 17), "found 17"),
    Case("props[0].prop_id", put("props[0].prop_id", "nothing"), "prop-0, prop-1"),
    Case("props[1].prop_id", repeat("props", 2), "twice"),
    Case("props[0].position", clear("props[0].position"), "missing"),
    *numbers("props[0].position.y", -1000.0, 1000.0),
    Case("props[0].rotation", put("props[0].rotation.w", 0.5), "length 0.5"),
    Case("lights", clear("lights"), "missing"),
    Case("lights.ambient", clear("lights.ambient"), "missing"),
    *numbers("lights.ambient.r", 0.0, 5.0),
    Case("lights.sun_direction", put("lights.sun_direction.y", 0.0), "length 0"),
    Case("lights.sun_direction", put("lights.sun_direction.x", NAN)),
    Case("lights.sun_color", clear("lights.sun_color"), "missing"),
    *numbers("lights.sun_color.g", 0.0, 5.0),
    Case("lights.background_srgb", clear("lights.background_srgb"), "missing"),
    *numbers("lights.background_srgb.b", 0.0, 1.0),
    Case("lights.points", repeat("lights.points", 5), "found 5"),
    Case("lights.points[0].position", clear("lights.points[0].position"), "missing"),
    *numbers("lights.points[0].position.z", -1000.0, 1000.0),
    Case("lights.points[0].color", clear("lights.points[0].color"), "missing"),
    *numbers("lights.points[0].color.r", 0.0, 50.0),
    *numbers("lights.points[0].range", 0.1, 100.0),
]

KEYFRAMES = "keyframed.keyframes"
TURN_CASES = [
    *[Case("turn_id", put("turn_id", value)) for value in ("", "a b", "x" * 65, "ü")],
    Case("run", clear("keyframed"), "missing"),
    Case(KEYFRAMES, clear(KEYFRAMES), "found 0"),
    Case(KEYFRAMES, repeat(KEYFRAMES, 4097), "found 4097"),
    Case(f"{KEYFRAMES}[0].offset_us", put(f"{KEYFRAMES}[0].offset_us", 1), "first keyframe is at 0"),
    Case(f"{KEYFRAMES}[1].offset_us", put(f"{KEYFRAMES}[1].offset_us", 0), "rise"),
    Case(f"{KEYFRAMES}[1].offset_us", put(f"{KEYFRAMES}[1].offset_us", 600_000_001), "10 minutes"),
    Case(f"{KEYFRAMES}[1].offset_us", put(f"{KEYFRAMES}[1].offset_us", (1 << 64) - 1), "10 minutes"),
    Case(f"{KEYFRAMES}[0].easing", put(f"{KEYFRAMES}[0].easing", 4)),
    Case(f"{KEYFRAMES}[1].state", clear(f"{KEYFRAMES}[1].state"), "missing"),
    *[
        Case(f"{KEYFRAMES}[1].state.{case.field}", case.spoil, case.says)
        for case in STATE_CASES
        if case.field in ("camera.vertical_fov", "actors[0].cast_id")
    ],
]


async def refused_open(channel: grpc.aio.Channel, message: pb.Open) -> tuple[grpc.StatusCode, dict[str, str]]:
    stream = RawStream(channel)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.open(message)
    return raised.value.code(), details(raised.value)[0]


@pytest.mark.parametrize("case", OPEN_CASES, ids=str)
async def test_a_spoiled_open_is_an_invalid_argument_that_names_the_field(
    channel: grpc.aio.Channel, case: Case
) -> None:
    message = open_message()
    case.spoil(message)
    code, fields = await refused_open(channel, message)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert f"open.{case.field}" in fields
    assert case.says in fields[f"open.{case.field}"]


@pytest.mark.parametrize("case", STATE_CASES, ids=str)
async def test_a_spoiled_state_is_rejected_and_the_session_lives_on(channel: grpc.aio.Channel, case: Case) -> None:
    turn = pb.Turn(turn_id="bad", lockstep=pb.LockstepRun(states=[scene_state(points=1), scene_state(points=1)]))
    case.spoil(turn.lockstep.states[1])
    await check_rejected(channel, turn, f"turn.lockstep.states[1].{case.field}", case.says)


@pytest.mark.parametrize("case", TURN_CASES, ids=str)
async def test_a_spoiled_turn_is_rejected_and_the_session_lives_on(channel: grpc.aio.Channel, case: Case) -> None:
    turn = keyframed_turn("bad", 1.0)
    case.spoil(turn.keyframed.keyframes[1].state if ".state." in case.field else turn)
    await check_rejected(channel, turn, f"turn.{case.field}", case.says)


async def check_rejected(channel: grpc.aio.Channel, turn: pb.Turn, field: str, says: str) -> None:
    stream = RawStream(channel)
    await stream.open(open_message())
    await stream.say(turn=turn)
    rejected = await stream.hear_until("rejected")
    assert rejected.turn_id == turn.turn_id[:64]
    descriptions = {violation.field: violation.description for violation in rejected.violations}
    assert field in descriptions
    assert says in descriptions[field]
    await stream.say(turn=lockstep_turn("good", 2))
    assert [frame.frame_index for frame in await stream.frames(2)] == [0, 1]
    await stream.say(close=pb.Close())
    await stream.hear_until("closed")


async def test_a_million_actors_are_counted_not_walked(channel: grpc.aio.Channel) -> None:
    turn = lockstep_turn("crowd", 1)
    turn.lockstep.states[0].actors.MergeFrom([scene_pb2.ActorState()] * 999_999)
    await check_rejected(channel, turn, "turn.lockstep.states[0].actors", "found 1000000 items; allowed are 0 to 4")


async def test_too_many_states_are_rejected(channel: grpc.aio.Channel) -> None:
    turn = pb.Turn(turn_id="long", lockstep=pb.LockstepRun(states=[scene_state(actors=0, props=0)] * 4097))
    await check_rejected(channel, turn, "turn.lockstep.states", "found 4097")


async def test_an_empty_lockstep_run_is_rejected(channel: grpc.aio.Channel) -> None:
    turn = pb.Turn(turn_id="empty", lockstep=pb.LockstepRun())
    await check_rejected(channel, turn, "turn.lockstep.states", "found 0")


async def test_no_more_than_32_violations_are_reported(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    await stream.open(open_message())
    states = [scene_state() for _ in range(4096)]
    for state in states:
        state.camera.vertical_fov = NAN
    await stream.say(turn=pb.Turn(turn_id="bad", lockstep=pb.LockstepRun(states=states)))
    rejected = await stream.hear_until("rejected")
    assert len(rejected.violations) == 32
    stream.leave()


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (pb.PerformRequest(turn=pb.Turn()), grpc.StatusCode.FAILED_PRECONDITION, "turn"),
        (pb.PerformRequest(cut=pb.Cut()), grpc.StatusCode.FAILED_PRECONDITION, "cut"),
        (pb.PerformRequest(ack=pb.Ack()), grpc.StatusCode.FAILED_PRECONDITION, "ack"),
        (pb.PerformRequest(close=pb.Close()), grpc.StatusCode.FAILED_PRECONDITION, "close"),
        (pb.PerformRequest(), grpc.StatusCode.INVALID_ARGUMENT, "request"),
    ],
    ids=["turn", "cut", "ack", "close", "nothing"],
)
async def test_the_first_request_must_be_open_or_resume(
    channel: grpc.aio.Channel, request_: pb.PerformRequest, code: grpc.StatusCode, field: str
) -> None:
    stream = RawStream(channel)
    await stream.call.write(request_)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.hear()
    assert raised.value.code() is code
    assert field in details(raised.value)[0]


async def test_a_stream_that_ends_before_it_says_anything_is_answered(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    await stream.call.done_writing()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.hear()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.PerformRequest(open=open_message()), "open"),
        (pb.PerformRequest(resume=pb.Resume()), "resume"),
        (pb.PerformRequest(), "request"),
        (pb.PerformRequest(ack=pb.Ack(next_frame=1)), "ack.next_frame"),
    ],
    ids=["open", "resume", "nothing", "ack"],
)
async def test_a_request_out_of_place_is_rejected_and_the_session_lives_on(
    channel: grpc.aio.Channel, request_: pb.PerformRequest, field: str
) -> None:
    stream = RawStream(channel)
    await stream.open(open_message())
    await stream.call.write(request_)
    rejected = await stream.hear_until("rejected")
    assert (rejected.turn_id, rejected.violations[0].field) == ("", field)
    await stream.say(turn=lockstep_turn("good", 1))
    await stream.frames(1)
    stream.leave()


async def test_a_used_turn_id_is_rejected(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    await stream.open(open_message())
    await stream.say(turn=lockstep_turn("one", 1))
    await stream.frames(1)
    await stream.say(turn=lockstep_turn("one", 1))
    rejected = await stream.hear_until("rejected")
    assert rejected.turn_id == "one"
    assert rejected.violations[0].field == "turn.turn_id"
    stream.leave()


async def test_what_comes_after_close_is_rejected(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    await stream.open(open_message(cast=("actor-0", "slow")))
    await stream.say(turn=lockstep_turn("one", 3))
    await stream.say(close=pb.Close())
    await stream.say(turn=lockstep_turn("two", 1))
    rejected = await stream.hear_until("rejected")
    assert rejected.turn_id == "two"
    assert "while the session is ending" in rejected.violations[0].description
    await stream.hear_until("closed")


async def test_a_message_that_is_too_large_is_refused_and_the_session_can_be_resumed(
    channel: grpc.aio.Channel,
) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message())
    await stream.say(turn=pb.Turn(turn_id="x" * (17 << 20)))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.hear_to_end()
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    again = RawStream(channel)
    await again.resume(opened, 0)
    await again.say(turn=lockstep_turn("good", 1))
    await again.frames(1)
    again.leave()
