"""Plays an expanded script through a server: frames into a film and a contact sheet, and what it took into figures.

What travelled is spooled to a file while the server draws and made into a film afterwards: an encoder that ran at the
same time would take the server's processor on a machine where both run, and the figures would be of the two together.
"""

from __future__ import annotations

import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cutscene_client.client import Client
from cutscene_client.expand import Expansion
from cutscene_client.frames import PACINGS, TIERS, Frame, read_pixels
from cutscene_client.remembered import remember
from cutscene_client.session import Session
from cutscene_client.video import SheetTile, check_film, check_sheet, mp4_writer, sheet_frames, write_contact_sheet
from cutscene_proto.v1 import cutscene_pb2 as pb


@dataclass(frozen=True, slots=True)
class PlayFigures:
    """What playing a script took, as the client saw it."""

    title: str
    model: str
    tier: str
    pacing: str  # "lockstep", "live" or none
    width: int
    height: int
    frames: int
    seconds: float  # from the first turn's being sent to the last frame's being received
    fps: float
    first_frame_ms: float
    median_frame_ms: float
    blocks_reused: int
    blocks_computed: int
    states_skipped: int  # with pacing "live"
    deadline_misses: int  # of a session with pacing
    megabytes: float
    digest: str  # over the digests of all frames, in order: equal runs have equal ones

    def report(self) -> str:
        """A few lines for people."""
        kept = f"{self.deadline_misses} frames were late, {self.states_skipped} states were skipped\n"
        return (
            f"{self.title}: {self.frames} frames of {self.width}x{self.height} by {self.model}, {self.tier} tier\n"
            f"first frame after {self.first_frame_ms:.0f} ms, then {self.fps:.1f} frames/s"
            f" (median {self.median_frame_ms:.1f} ms a frame), {self.megabytes:.1f} MB received\n"
            f"cache blocks: {self.blocks_reused} reused, {self.blocks_computed} computed\n"
            f"{kept if self.pacing else ''}"
            f"digest of all pixels: {self.digest}"
        )


async def play_script(
    client: Client,
    expansion: Expansion,
    film: Path,
    sheet: Path | None = None,
    *,
    model: str = "",
    tier: str = "",
    seed: int | None = None,
    pacing: str = "",
    lowest_tier: str = "",
    references: Sequence[pb.ReferencePicture] = (),
    wait: bool = False,
    on_position: Callable[[int], None] = lambda position: None,
    on_frame: Callable[[Frame], None] = lambda frame: None,
    on_encoded: Callable[[int], None] = lambda count: None,
) -> PlayFigures:
    """Opens a session, performs every shot, closes it, writes the files. ``references`` come after the script's.

    Raises ``OutputUnusable`` before anything is asked of the server if a file could not be written.
    """
    check_film(film)
    if sheet is not None:
        check_sheet(sheet)
    request = type(expansion.open_request)()
    request.CopyFrom(expansion.open_request)
    request.model = model
    if seed is not None:
        request.seed = seed
    if tier:
        request.tier = TIERS[tier]
    request.pacing, request.wait = PACINGS[pacing], wait
    if lowest_tier:
        request.lowest_tier = TIERS[lowest_tier]
    request.references.extend(references)
    session = await client.open_request(request, on_position=on_position)
    remember(session.id, session.token, client.address, expansion.title)
    with tempfile.TemporaryFile(prefix="cutscene-") as spool:
        async with session:
            sizes, figures = await _perform(session, expansion, spool, on_frame)
        # Nobody else has to wait for its place any more while the film is made.
        spool.seek(0)
        _write_files(session, expansion, spool, sizes, film, sheet, on_encoded)
    return figures


async def _perform(
    session: Session, expansion: Expansion, spool: IO[bytes], on_frame: Callable[[Frame], None]
) -> tuple[list[tuple[int, str]], PlayFigures]:
    """Plays all shots. Returns each frame's size and codec, and the figures."""
    sizes: list[tuple[int, str]] = []
    arrivals: list[float] = []
    digest = hashlib.blake2b(digest_size=16)
    reused = computed = 0
    tier = session.tier
    begun = time.perf_counter()
    async for frame in session.play(expansion.steps()):
        arrivals.append(time.perf_counter())
        spool.write(frame.data)
        sizes.append((len(frame.data), frame.codec))
        digest.update(frame.digest)
        reused += frame.blocks_reused
        computed += frame.blocks_computed
        tier = frame.tier
        on_frame(frame)
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrivals)]
    seconds = arrivals[-1] - begun
    return sizes, PlayFigures(
        title=expansion.title,
        model=session.model,
        tier=tier,
        pacing=session.pacing,
        width=session.video.width,
        height=session.video.height,
        frames=len(arrivals),
        seconds=seconds,
        fps=len(arrivals) / seconds,
        first_frame_ms=1000 * (arrivals[0] - begun),
        median_frame_ms=1000 * statistics.median(gaps) if gaps else 0.0,
        blocks_reused=reused,
        blocks_computed=computed,
        states_skipped=session.states_skipped,
        deadline_misses=session.deadline_misses,
        megabytes=sum(size for size, _ in sizes) / 1e6,
        digest=digest.hexdigest(),
    )


def _write_files(
    session: Session,
    expansion: Expansion,
    spool: IO[bytes],
    sizes: Sequence[tuple[int, str]],
    film: Path,
    sheet: Path | None,
    on_encoded: Callable[[int], None],
) -> None:
    width, height = session.video.width, session.video.height
    shown = set(sheet_frames([len(shot.states) for shot in expansion.shots])) if sheet else set()
    tiles = []
    with mp4_writer(film, width, height, session.fps) as sink:
        for index, (size, codec) in enumerate(sizes):
            pixels = read_pixels(spool.read(size), codec, width, height)
            sink.add(pixels)
            if index in shown:
                tiles.append(SheetTile(f"{index / session.fps:.2f} s  {expansion.shot_at(index).name}", pixels))
            on_encoded(index + 1)
    if sheet and tiles:
        write_contact_sheet(sheet, expansion.title, tiles)
