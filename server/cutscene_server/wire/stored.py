"""What a file says of scenes, held to the rules for what clients say: the inverse of ``scene``, and the checks.

Stored values become the messages they once came in, and are read as any client's are. What is read is then compared
with what is stored, for not all that can be stored can be said: directions are stored with exact unit length, which the
wire's float32 cannot carry, and between keyframes lie numbers that no client sent. So the comparison is to float32's
rounding; the stored bytes themselves are kept, since they decide about pixels.

Raises ``InvalidRequest``. Its paths are those of the wire: ``open.cast[0].tint.r``, ``state.camera.vertical_fov``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

import msgpack
import numpy as np

from cutscene_model import scene_codec
from cutscene_model.engine import TIERS
from cutscene_model.manifest import Manifest
from cutscene_model.scene import (
    MAX_REFERENCES,
    ActorState,
    CastMember,
    Lights,
    Prop,
    PropState,
    SceneState,
    SetElement,
    Stage,
)
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2
from cutscene_server.errors import FieldViolation, InvalidRequest
from cutscene_server.keyframes import Easing, KeyframedStates, LockstepStates, Run
from cutscene_server.packed_scene import unpack_state
from cutscene_server.terms import Names, Terms
from cutscene_server.wire import requests
from cutscene_server.wire.scene import Four, Three, read_state
from cutscene_server.wire.violations import Full, Violations, shown

ROUNDING = 1e-6  # relative, and absolute below 1; float32's is 6e-8, and unit length is made of four of them
LARGEST_ENUM = (1 << 31) - 1  # stands in for numbers that no message can carry: it is refused as they would be
# No list of a scene is longer than that of a set's elements. Without a limit, five bytes could ask for megabytes.
_UNPACKING = {"max_array_len": 512, "max_str_len": 256, "max_bin_len": 512, "max_map_len": 0, "max_ext_len": 0}
_UNREADABLE = (ValueError, TypeError, OverflowError, msgpack.UnpackException)

Keyframe = tuple[bytes, int, int]  # packed state, offset in microseconds, easing


def check_terms(claimed: Terms, packed_stage: bytes, manifest: Manifest, max_frames: int) -> Terms:
    """The terms that a file claims, with their names, if that is what an ``open`` settles."""
    if claimed.tier not in manifest.tiers:
        known = ", ".join(manifest.tiers)
        raise InvalidRequest([FieldViolation("open.tier", f"found {shown(claimed.tier)}; this model has {known}")])
    if claimed.lowest_tier not in ("", *manifest.tiers):
        raise InvalidRequest([FieldViolation("open.lowest_tier", f"found {shown(claimed.lowest_tier)}")])
    stage = _stage(packed_stage, manifest)
    message = pb.Open(
        video=pb.VideoFormat(
            codec=claimed.codec.value,  # type: ignore[arg-type]
            jpeg_quality=claimed.jpeg_quality,
            pixel_digest=claimed.pixel_digest.value,  # type: ignore[arg-type]
        ),
        fps=claimed.fps,
        cast=map(_cast_member, stage.cast),
        set=scene_pb2.Set(elements=map(_set_element, stage.elements), props=map(_prop, stage.props)),
        seed=claimed.seed,
        tier=TIERS.index(claimed.tier) + 1,  # type: ignore[arg-type]
        frame_credit=claimed.frame_credit,
        frame_budget=claimed.frame_budget,
        pacing=claimed.pacing.value,  # type: ignore[arg-type]
        lowest_tier=TIERS.index(claimed.lowest_tier) + 1 if claimed.lowest_tier else 0,  # type: ignore[arg-type]
    )
    terms, read = requests.read_open(message, manifest, max_frames)
    claimed = dataclasses.replace(claimed, latency_us=terms.latency_us)  # this server's, as in every session here
    terms = dataclasses.replace(terms, background=claimed.background)
    violations = Violations()
    with contextlib.suppress(Full):
        _compare(violations, "open", dataclasses.replace(claimed, names=terms.names), terms)
        _check_references(violations, stage.references, manifest)
        # No client says a reference's latent: the server makes it of a picture that is gone.
        _compare(violations, "open", dataclasses.replace(stage, references=()), read)
    violations.raise_if_any()
    return terms


def check_state(packed: bytes, names: Names) -> None:
    """Whether a stored state could be a client's, or lie between two of a client's."""
    violations = Violations()
    with contextlib.suppress(Full):
        state = _unpacked("state", packed)
        read = read_state(violations, "state", _state(state, _ids(names.cast), _ids(names.props)), names)
        if not violations.found:
            _compare(violations, "state", state, read)
    violations.raise_if_any()


def check_run(keyframed: bool, parts: Sequence[Keyframe], terms: Terms) -> Run:
    """The run of these keyframes, if a client could have asked for it; or of one state a frame, whose offsets and
    easings mean nothing."""
    turn = pb.Turn(turn_id="stored")
    path = "turn.keyframed.keyframes[{}].state" if keyframed else "turn.lockstep.states[{}]"
    cast, props = _ids(terms.names.cast), _ids(terms.names.props)
    stored = [_unpacked(path.format(index), packed) for index, (packed, _, _) in enumerate(parts)]
    for state, (_, offset_us, easing) in zip(stored, parts, strict=True):
        if keyframed:
            message = _state(state, cast, props)
            turn.keyframed.keyframes.add(offset_us=offset_us, state=message, easing=easing)
        else:
            turn.lockstep.states.append(_state(state, cast, props))
    run = requests.read_turn(turn, terms.names, terms.fps).run
    read = [run.packed_state(index) for index in range(len(parts))]
    if isinstance(run, KeyframedStates):
        read = [state for _, state, _ in run.keyframes]
    violations = Violations()
    with contextlib.suppress(Full):
        for index, (state, packed) in enumerate(zip(stored, read, strict=True)):
            _compare(violations, path.format(index), state, unpack_state(packed))
    violations.raise_if_any()
    packed_states = [packed for packed, _, _ in parts]
    if isinstance(run, KeyframedStates):
        easings = [Easing(easing) for _, _, easing in run.keyframes]
        return KeyframedStates([offset_us for _, offset_us, _ in parts], packed_states, easings, terms.fps)
    return LockstepStates(tuple(packed_states))


# ---- unpacking ------------------------------------------------------------------------------------------------------


def _stage(packed: bytes, manifest: Manifest) -> Stage:
    limits = _UNPACKING | {"max_bin_len": max(_UNPACKING["max_bin_len"], manifest.reference_bytes)}
    try:
        return scene_codec.stage_from_plain(msgpack.unpackb(packed, **limits))
    except _UNREADABLE as error:
        raise _unreadable("open.stage", error) from None


def _unpacked(path: str, packed: bytes) -> SceneState:
    try:
        return scene_codec.state_from_plain(msgpack.unpackb(packed, **_UNPACKING))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: Exception) -> InvalidRequest:
    why = shown(str(error) or type(error).__name__)
    return InvalidRequest([FieldViolation(path, f"is not what a scene is stored as: {why}")])


def _check_references(violations: Violations, references: Sequence[bytes], manifest: Manifest) -> None:
    most = min(manifest.references, MAX_REFERENCES)
    if len(references) > most:
        violations.add("open.references", f"found {len(references)}; this model takes {most or 'none'}")
        return
    for index, seen in enumerate(references):
        path = f"open.references[{index}]"
        if len(seen) != manifest.reference_bytes:
            violations.add(path, f"found {len(seen)} bytes; this model keeps {manifest.reference_bytes}")
        elif not np.isfinite(np.frombuffer(seen, "<f2")).all():
            violations.add(path, "has numbers that are not finite, which no model makes of a picture")


# ---- values to messages ---------------------------------------------------------------------------------------------


def _cast_member(member: CastMember) -> scene_pb2.CastMember:
    message = scene_pb2.CastMember(
        id=member.id, costume=member.costume, bare_headed=not member.headgear, tint=_color(member.tint)
    )
    if member.radii is not None:
        head, torso, arms, legs = member.radii
        message.build.CopyFrom(scene_pb2.Build(head=head, torso=torso, arms=arms, legs=legs))
    return message


def _set_element(element: SetElement) -> scene_pb2.SetElement:
    box, (width, height, depth) = element.box, element.box.half_extent
    message = scene_pb2.SetElement(
        element_class=int(element.element_class),  # type: ignore[arg-type]
        look=element.look,
        part=_carried(element.part),
        tint=_color(element.tint),
    )
    center, rotation = _vec3(box.center), _quaternion(box.rotation)
    if height == 0.0:
        message.plane.CopyFrom(scene_pb2.Plane(center=center, half_width=width, half_depth=depth, rotation=rotation))
    else:
        message.box.CopyFrom(scene_pb2.Box(center=center, half_extent=_vec3(box.half_extent), rotation=rotation))
    return message


def _prop(prop: Prop) -> scene_pb2.Prop:
    return scene_pb2.Prop(
        id=prop.id,
        element_class=int(prop.element_class),  # type: ignore[arg-type]
        look=prop.look,
        half_extent=_vec3(prop.half_extent),
        tint=_color(prop.tint),
    )


def _state(state: SceneState, cast: dict[int, str], props: dict[int, str]) -> scene_pb2.SceneState:
    camera = state.camera
    return scene_pb2.SceneState(
        camera=scene_pb2.Camera(
            position=_vec3(camera.position), rotation=_quaternion(camera.rotation), vertical_fov=camera.vertical_fov
        ),
        actors=[_actor(actor, cast) for actor in state.actors],
        props=[_prop_state(prop, props) for prop in state.props],
        lights=_lights(state.lights),
    )


def _actor(actor: ActorState, cast: dict[int, str]) -> scene_pb2.ActorState:
    return scene_pb2.ActorState(
        cast_id=cast.get(actor.cast_index, f"number {actor.cast_index}"),
        joints=actor.joints.ravel().tolist(),
        emotion=_carried(actor.emotion + 1),  # type: ignore[arg-type]
        intensity=actor.intensity,
        mouth_open=actor.mouth_open,
    )


def _prop_state(prop: PropState, props: dict[int, str]) -> scene_pb2.PropState:
    return scene_pb2.PropState(
        prop_id=props.get(prop.prop_index, f"number {prop.prop_index}"),
        position=_vec3(prop.position),
        rotation=_quaternion(prop.rotation),
    )


def _lights(lights: Lights) -> scene_pb2.Lights:
    return scene_pb2.Lights(
        ambient=_color(lights.ambient),
        sun_direction=_vec3(lights.sun_direction),
        sun_color=_color(lights.sun_color),
        background_srgb=_color(lights.background),
        points=[
            scene_pb2.PointLight(position=_vec3(point.position), color=_color(point.color), range=point.range)
            for point in lights.points
        ],
    )


def _vec3(values: Three) -> scene_pb2.Vec3:
    x, y, z = values
    return scene_pb2.Vec3(x=x, y=y, z=z)


def _quaternion(values: Four) -> scene_pb2.Quaternion:
    x, y, z, w = values
    return scene_pb2.Quaternion(x=x, y=y, z=z, w=w)


def _color(values: Three) -> scene_pb2.Color:
    r, g, b = values
    return scene_pb2.Color(r=r, g=g, b=b)


def _carried(number: int) -> int:
    return number if 0 <= number <= LARGEST_ENUM else LARGEST_ENUM


def _ids(indices: dict[str, int]) -> dict[int, str]:
    return {index: name for name, index in indices.items()}


# ---- comparing ------------------------------------------------------------------------------------------------------


def _compare(violations: Violations, path: str, stored: object, read: object) -> None:
    """Notes where a stored value is not what a client's message makes of it."""
    if isinstance(stored, float) and isinstance(read, float):
        alike = stored == read or abs(stored - read) <= ROUNDING * max(1.0, abs(read))
    elif isinstance(stored, tuple) and isinstance(read, tuple) and len(stored) == len(read):
        for index, (mine, theirs) in enumerate(zip(stored, read, strict=True)):
            _compare(violations, f"{path}[{index}]", mine, theirs)
        return
    elif isinstance(stored, np.ndarray) and isinstance(read, np.ndarray):
        alike = np.array_equal(stored, read)  # joints are float32 on both sides
    elif type(stored) is type(read) and (names := _field_names(stored)):
        for name in names:
            _compare(violations, f"{path}.{name}", getattr(stored, name), getattr(read, name))
        return
    else:
        alike = stored == read
    if not alike:
        violations.add(path, f"found {shown(str(stored))}; as a client's it would have become {shown(str(read))}")


_names_by_kind: dict[type, tuple[str, ...]] = {}


def _field_names(value: object) -> tuple[str, ...]:
    """Of a dataclass's value; none of anything else."""
    kind = type(value)
    if kind not in _names_by_kind:
        fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
        _names_by_kind[kind] = tuple(field.name for field in fields)
    return _names_by_kind[kind]
