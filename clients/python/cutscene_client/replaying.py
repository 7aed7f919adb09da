"""A recording performed again: into a film, against its digests, or both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cutscene_client import scene
from cutscene_client.client import Client, ReplayWish
from cutscene_client.frames import Frame
from cutscene_client.video import check_film, mp4_writer
from cutscene_proto.v1 import scene_pb2 as spb


@dataclass(frozen=True, slots=True)
class ReplayFigures:
    """What came of it."""

    frames: int
    differences: tuple[str, ...]  # why the pixels need not be those of the recording
    compared: int  # frames whose digests were compared
    first_difference: int | None  # the first frame whose pixels are others

    def report(self) -> str:
        """A few lines for people."""
        lines = [f"{self.frames} frames performed again"]
        if self.compared:
            where = "every one has the recording's pixels"
            if self.first_difference is not None:
                where = f"the first with other pixels is frame {self.first_difference}"
            lines.append(f"{self.compared} compared: {where}")
        if self.differences:
            lines.append("the pixels need not be the same, because of")
            lines += [f"  {reason}" for reason in self.differences]
        return "\n".join(lines)


async def replay(
    client: Client,
    session_id: str,
    token: str,
    wish: ReplayWish,
    film: Path | None,
    *,
    verify: bool = False,
    on_frame: Callable[[Frame], None] = lambda frame: None,
    on_known: Callable[[int], None] = lambda count: None,
) -> ReplayFigures:
    """Performs a recording again. ``on_known`` is told how many frames there will be.

    Raises ``OutputUnusable`` before anything is asked of the server if the film could not be written.
    """
    if film is not None:
        check_film(film)
    recorded: dict[int, bytes] = {}
    if verify:
        async for stored in client.recording(session_id, token, wish.first_frame, wish.end_frame):
            recorded[stored.frame_index] = stored.pixel_digest
    begun = await client.replay(session_id, token, wish)
    on_known(begun.frame_count)
    shift = wish.first_frame - begun.first_frame
    frames, different = 0, None
    session = await client.resume(begun.session_id, begun.token, begun.first_frame)
    async with session:
        with contextlib.ExitStack() as stack:
            sink = None
            if film is not None:
                sink = stack.enter_context(mp4_writer(film, session.video.width, session.video.height, session.fps))
            async for frame in session.remaining():
                frames += 1
                on_frame(frame)
                if sink is not None:
                    sink.add(frame.rgb)
                index = frame.index + shift
                if different is None and index in recorded and recorded[index] != frame.digest:
                    different = index
    return ReplayFigures(frames, begun.differences, len(recorded), different)


def read_camera(text: str) -> spb.Camera:
    """``X,Y,Z:X,Y,Z`` (from where, at what; metres), then maybe ``:DEGREES``. Raises ``ValueError``."""
    pieces = text.split(":")
    if len(pieces) not in (2, 3):
        raise ValueError(f"camera is {text!r}, which is not X,Y,Z:X,Y,Z or X,Y,Z:X,Y,Z:DEGREES")
    try:
        (x, y, z), (to_x, to_y, to_z) = (_three(piece) for piece in pieces[:2])
    except ValueError:
        raise ValueError(f"camera is {text!r}: a place has three numbers, X,Y,Z") from None
    try:
        degrees = float(pieces[2]) if len(pieces) == 3 else 40.0
    except ValueError:
        raise ValueError(f"camera is {text!r}: {pieces[2]!r} is no number of degrees") from None
    return scene.camera((x, y, z), look_at=(to_x, to_y, to_z), fov_degrees=degrees)


def read_setting(text: str) -> spb.CastMember:
    """``cast.ID=COSTUME``, then maybe ``/R,G,B`` for a tint. Raises ``ValueError``."""
    key, separator, value = text.partition("=")
    if not separator or not key.startswith("cast."):
        raise ValueError(f"found {text!r}; what can be set is cast.ID=COSTUME or cast.ID=COSTUME/R,G,B")
    costume, slash, tint = value.partition("/")
    member = spb.CastMember(id=key.removeprefix("cast."), costume=costume)
    if slash:
        try:
            member.tint.r, member.tint.g, member.tint.b = _three(tint)
        except ValueError:
            raise ValueError(f"found {text!r}; a tint has three numbers, R,G,B") from None
    return member


def _three(text: str) -> tuple[float, float, float]:
    first, second, third = (float(number) for number in text.split(","))
    return first, second, third
