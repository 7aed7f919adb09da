"""The smallest messages that the server takes, for tests to bend one field at a time."""

from __future__ import annotations

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2


def scene_state(*, x: float = 0.0, actors: int = 1, props: int = 1, points: int = 0) -> scene_pb2.SceneState:
    """A state whose camera stands at ``x``, with the first ``actors`` of the cast and ``props`` of the props."""
    return scene_pb2.SceneState(
        camera=scene_pb2.Camera(
            position=scene_pb2.Vec3(x=x, y=1.5, z=4.0), rotation=scene_pb2.Quaternion(w=1.0), vertical_fov=0.8
        ),
        actors=[
            scene_pb2.ActorState(
                cast_id=f"actor-{index}",
                joints=[0.1 * number for number in range(57)],
                emotion=scene_pb2.EMOTION_JOY,
                intensity=0.5,
                mouth_open=0.25,
            )
            for index in range(actors)
        ],
        props=[
            scene_pb2.PropState(
                prop_id=f"prop-{index}", position=scene_pb2.Vec3(y=1.0), rotation=scene_pb2.Quaternion(w=1.0)
            )
            for index in range(props)
        ],
        lights=scene_pb2.Lights(
            ambient=scene_pb2.Color(r=0.4, g=0.4, b=0.4),
            sun_direction=scene_pb2.Vec3(y=-1.0),
            sun_color=scene_pb2.Color(r=0.8, g=0.8, b=0.8),
            background_srgb=scene_pb2.Color(),
            points=[
                scene_pb2.PointLight(
                    position=scene_pb2.Vec3(y=2.0), color=scene_pb2.Color(r=5.0, g=3.0, b=1.0), range=6.0
                )
                for _ in range(points)
            ],
        ),
    )


def open_message(*, cast: tuple[str, ...] = ("actor-0", "actor-1"), seed: int = 7, frame_credit: int = 0) -> pb.Open:
    """An open with a cast, a floor, a wall and two props."""
    return pb.Open(
        cast=[scene_pb2.CastMember(id=name, costume="knight") for name in cast],
        set=scene_pb2.Set(
            elements=[
                scene_pb2.SetElement(
                    element_class=scene_pb2.ELEMENT_CLASS_FLOOR,
                    look="floor/tile",
                    plane=scene_pb2.Plane(center=scene_pb2.Vec3(), half_width=5.0, half_depth=5.0),
                ),
                scene_pb2.SetElement(
                    element_class=scene_pb2.ELEMENT_CLASS_WALL,
                    look="wall/plain",
                    box=scene_pb2.Box(center=scene_pb2.Vec3(z=-5.0), half_extent=scene_pb2.Vec3(x=5.0, y=2.0, z=0.5)),
                ),
            ],
            props=[
                scene_pb2.Prop(
                    id=f"prop-{index}",
                    element_class=scene_pb2.ELEMENT_CLASS_TABLE,
                    look="wall/plain",
                    half_extent=scene_pb2.Vec3(x=0.5, y=0.5, z=0.5),
                )
                for index in range(2)
            ],
        ),
        seed=seed,
        frame_credit=frame_credit,
    )


def lockstep_turn(turn_id: str, frames: int) -> pb.Turn:
    """A turn of ``frames`` frames whose camera moves."""
    return pb.Turn(
        turn_id=turn_id, lockstep=pb.LockstepRun(states=[scene_state(x=0.1 * index) for index in range(frames)])
    )


def keyframed_turn(turn_id: str, seconds: float) -> pb.Turn:
    """A turn of two keyframes."""
    return pb.Turn(
        turn_id=turn_id,
        keyframed=pb.KeyframedRun(
            keyframes=[
                pb.Keyframe(offset_us=0, state=scene_state(x=0.0)),
                pb.Keyframe(offset_us=round(seconds * 1e6), state=scene_state(x=1.0)),
            ]
        ),
    )
