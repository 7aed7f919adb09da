"""One item: its session's frames, taken as a client would take them, into its film.

The session goes on from where it was. What it had drawn before a crash is shown again from what is stored, the rest is
drawn: the film is made anew, and nothing is drawn twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from cutscene_server.errors import EngineFailed
from cutscene_server.registry import SessionRecord
from cutscene_server.rendering.film import FilmFormat, making_film
from cutscene_server.rendering.jobs import FinishedFilm, Item
from cutscene_server.runtime import Runtime
from cutscene_server.session_log import FrameReady

DIGEST_BYTES = 16


async def perform(runtime: Runtime, item: Item, path: Path, on_frame: Callable[[int], None]) -> FinishedFilm:
    """Draws an item into a film at ``path``. ``on_frame`` is told how many of its frames are drawn and stored.

    Raises ``ServerError``: ``NotServing`` if the server stops, ``EngineFailed`` if the model or the encoder fails, and
    whatever keeps the session from being taken up.
    """
    record = await runtime.take_up(item.session_id)
    session, changed = record.session, asyncio.Event()
    async with record.changing:
        attachment = runtime.attach(record, 0, record.tenant, changed.set)
    terms, digest = session.terms, hashlib.blake2b(digest_size=DIGEST_BYTES)
    film_format = FilmFormat(terms.width, terms.height, terms.fps, item.frame_count, item.rate_factor)
    try:
        async with making_film(path, film_format) as film:
            async with contextlib.aclosing(_frames(runtime, record, changed, item.frame_count)) as frames:
                async for frame in frames:
                    await film.add(frame.data)
                    digest.update(frame.pixel_digest)
                    runtime.acknowledge(record, frame.figures.frame_index + 1)
                    on_frame(session.durable_frame)
            if not session.closed:  # as it is if all of it was drawn before a crash
                runtime.close(record)
            byte_size, film_digest = await film.finish()
    finally:
        runtime.detach(record, attachment)
    return FinishedFilm(byte_size, film_digest, digest.digest())


async def _frames(
    runtime: Runtime, record: SessionRecord, changed: asyncio.Event, frame_count: int
) -> AsyncGenerator[FrameReady, None]:
    """The session's frames from the first to the last."""
    session = record.session
    next_entry, next_frame = session.log.first_number, 0
    while next_frame < frame_count:
        changed.clear()
        while next_entry < session.log.next_number:
            entry = session.log.get(next_entry)
            next_entry += 1
            if isinstance(entry, FrameReady):
                next_frame += 1
                yield entry
        if next_frame == frame_count:
            return
        record.require_kept()
        if runtime.stopping or runtime.lost:
            runtime.require_serving()
        if session.closed and not session.has_work:
            raise EngineFailed("the model could not draw this performance; the server's log says why")
        await changed.wait()
