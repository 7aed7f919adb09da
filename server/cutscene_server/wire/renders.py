"""Render jobs between messages and values. Raises ``InvalidRequest``, its paths led by the item's place."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from cutscene_model.manifest import Manifest
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import render_pb2 as rpb
from cutscene_server.errors import FieldViolation, InvalidRequest
from cutscene_server.packed_scene import pack_stage
from cutscene_server.rendering.intake import ItemTerms
from cutscene_server.rendering.jobs import Item, Job, RenderState
from cutscene_server.rendering.renders import Renders, Submission
from cutscene_server.terms import Codec, Pacing, PixelDigest, Terms
from cutscene_server.turns import Turn
from cutscene_server.wire import requests
from cutscene_server.wire.violations import Full, Violations, check_name, require

DEFAULT_RATE_FACTOR = 16
MAX_RATE_FACTOR = 40
FRAME_CREDIT = 8  # raw frames of a film that wait for its encoder: 3.5 MB


def read_item(message: rpb.RenderItem, path: str, manifest: Manifest, max_frames: int) -> ItemTerms:
    """How an item begins. It is drawn in the background, and its frames go to the encoder as they are."""
    violations = Violations()
    with contextlib.suppress(Full):
        check_name(violations, f"{path}.name", message.name)
        if message.rate_factor > MAX_RATE_FACTOR:
            violations.add(
                f"{path}.rate_factor",
                f"found {message.rate_factor}; allowed are 1 to {MAX_RATE_FACTOR}, or 0 for {DEFAULT_RATE_FACTOR}",
            )
        require(violations, f"{path}.open", message.HasField("open"))
    violations.raise_if_any()
    with _led_by(f"{path}."):
        said, stage = requests.read_open(message.open, manifest, max_frames)
    terms = dataclasses.replace(
        said,
        codec=Codec.RAW_RGB,
        pixel_digest=PixelDigest.BLAKE2B,  # so that the film's digest is that of the same performance, played
        frame_credit=FRAME_CREDIT,
        background=True,
        pacing=Pacing.UNPACED,  # nobody waits for a film: every state is drawn, at the tier that was asked for
        lowest_tier="",
        latency_us=0,
    )
    return ItemTerms(message.name, terms, pack_stage(stage), message.rate_factor or DEFAULT_RATE_FACTOR)


def reference_pictures(message: rpb.RenderItem) -> tuple[bytes, ...]:
    """The reference pictures of an item that was read: they are yet to be added to its stage."""
    return requests.reference_pictures(message.open)


def read_turn(message: pb.Turn, path: str, terms: Terms) -> Turn:
    """A turn of an item, whose states are packed."""
    with _led_by(f"{path}."):
        return requests.read_turn(message, terms.names, terms.fps)


def submitted(submission: Submission, renders: Renders) -> rpb.SubmitRenderResponse:
    job = submission.job
    if job is None:
        raise ValueError("the job is not handed in yet")
    return rpb.SubmitRenderResponse(
        job_id=job.job_id,
        token=submission.token,
        item_count=len(job.items),
        frame_count=job.frame_count,
        jobs_ahead=renders.jobs_ahead(job),
    )


def job(value: Job, renders: Renders, *, with_items: bool = True) -> rpb.RenderJob:
    """A job as it is now."""
    return rpb.RenderJob(
        job_id=value.job_id,
        state=_state(value.state),
        created_unix_us=value.created_unix_us,
        frame_count=value.frame_count,
        frames_done=value.frames_done,
        jobs_ahead=renders.jobs_ahead(value),
        remaining_s=renders.remaining_s(value),
        item_count=len(value.items),
        items_done=value.count(RenderState.DONE),
        items_failed=value.count(RenderState.FAILED),
        items=[_item(value, index, item) for index, item in enumerate(value.items)] if with_items else [],
    )


def read_page(message: rpb.ListRendersRequest) -> tuple[int, int]:
    """The number after which the page starts, and its size."""
    return requests.read_page(pb.ListSessionsRequest(page_size=message.page_size, page_token=message.page_token))


def _item(job: Job, index: int, item: Item) -> rpb.RenderedItem:
    message = rpb.RenderedItem(
        name=item.name,
        state=_state(item.state),
        frame_count=item.frame_count,
        frames_done=item.frames_done,
        failure=item.failure,
    )
    if item.film is not None:
        message.film = job.film_name(index)
        message.film_bytes = item.film.byte_size
        message.film_digest = item.film.digest
        message.pixel_digest = item.film.pixel_digest
    return message


def _state(state: RenderState) -> str:
    return f"RENDER_STATE_{state.name}"


@contextlib.contextmanager
def _led_by(prefix: str) -> Iterator[None]:
    """Puts a place before the fields of an ``InvalidRequest``."""
    try:
        yield
    except InvalidRequest as error:
        found = [FieldViolation(prefix + each.field, each.description) for each in error.violations]
        raise InvalidRequest(found) from None
