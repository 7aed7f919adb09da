"""A torn tail loses only what was never acknowledged; anything else that is wrong is said, and hurts one session."""

from __future__ import annotations

import contextlib
import errno
import logging
import resource
import sqlite3
from pathlib import Path

import pytest

from cutscene_server.store import Store, StoreDamagedError, StoreFailedError, StoreFullError
from cutscene_server.store.errors import refused

from .samples import frame, log_file, new_session, turn

A, B = "session-a", "session-b"
FILE_HEADER_BYTES = 12
RECORD_HEADER_BYTES = 16


def make(directory: Path, frames: int) -> list[int]:
    """A store of session A with so many frames. Returns the size of A's log after each of them."""
    sizes: list[int] = []
    with Store.open(directory, sync=False) as store:
        store.create_session(new_session(A))
        for index in range(frames):
            store.add_frame(A, frame(index))
            sizes.append(store.frame_bytes(A))
    return sizes


@pytest.mark.parametrize("frames", [1, 3])
def test_a_tail_torn_at_any_byte_loses_only_the_last_record(
    tmp_path: Path, frames: int, caplog: pytest.LogCaptureFixture
) -> None:
    *before, whole = [0, *make(tmp_path, frames)]
    content = log_file(tmp_path).read_bytes()
    assert len(content) == whole
    for size in range(before[-1], whole):
        log_file(tmp_path).write_bytes(content[:size])
        caplog.clear()
        with Store.open(tmp_path, sync=False) as store:
            assert store.read_session(A).next_frame == frames - 1
            assert bool(caplog.records) == (size not in (before[-1], FILE_HEADER_BYTES))
            assert log_file(tmp_path).stat().st_size == size  # reading changes nothing
            store.add_frame(A, frame(frames - 1))
            assert list(store.read_frames(A, 0, frames)) == [frame(index) for index in range(frames)]
        assert log_file(tmp_path).read_bytes() == content


@pytest.mark.parametrize("kept", [0, 5, 12, 20, 60])
def test_a_tail_whose_pages_were_not_all_written_is_torn_too(tmp_path: Path, kept: int) -> None:
    sizes = make(tmp_path, 3)
    content = log_file(tmp_path).read_bytes()
    torn = content[: sizes[1] + kept] + bytes(sizes[2] - sizes[1] - kept)
    log_file(tmp_path).write_bytes(torn)
    with Store.open(tmp_path, sync=False) as store:
        assert store.read_session(A).next_frame == 2
        store.add_frame(A, frame(2))
    assert log_file(tmp_path).read_bytes() == content


def test_a_flipped_byte_anywhere_before_the_last_record_is_damage_to_this_session_only(tmp_path: Path) -> None:
    sizes = make(tmp_path, 3)
    with Store.open(tmp_path, sync=False) as store:
        store.create_session(new_session(B))
        store.add_frame(B, frame(0))
    content = log_file(tmp_path).read_bytes()
    for position in range(sizes[1]):
        flipped = bytearray(content)
        flipped[position] ^= 0x40
        log_file(tmp_path).write_bytes(flipped)
        hurt = 0 if position < sizes[0] else 1
        with Store.open(tmp_path, sync=False) as store:
            with pytest.raises(StoreDamagedError) as raised:
                store.read_session(A)
            assert (raised.value.session_id, raised.value.frame_index) == (A, hurt)
            assert str(log_file(tmp_path)) in str(raised.value)
            with pytest.raises(StoreDamagedError):
                store.add_frame(A, frame(3))
            with pytest.raises(StoreDamagedError):
                store.read_frames(A, 0, 3)
            assert list(store.read_frames(A, 0, hurt)) == [frame(index) for index in range(hurt)]
            store.add_frame(B, frame(store.read_session(B).next_frame))
        assert log_file(tmp_path).read_bytes() == flipped


def test_a_flipped_byte_in_the_last_record_never_passes_for_a_frame(tmp_path: Path) -> None:
    sizes = make(tmp_path, 3)
    content = log_file(tmp_path).read_bytes()
    for position in range(sizes[1], sizes[2]):
        flipped = bytearray(content)
        flipped[position] ^= 0x01
        log_file(tmp_path).write_bytes(flipped)
        with Store.open(tmp_path, sync=False) as store:
            if position < sizes[1] + RECORD_HEADER_BYTES:  # no crash does that
                with pytest.raises(StoreDamagedError, match="frame 2"):
                    store.read_session(A)
            else:  # a crash might have: the frame is lost, to be drawn again
                assert store.read_session(A).next_frame == 2


def test_damage_after_opening_is_found_when_the_frame_is_read(tmp_path: Path) -> None:
    sizes = make(tmp_path, 3)
    with Store.open(tmp_path, sync=False) as store:
        assert store.read_session(A).next_frame == 3
        with log_file(tmp_path).open("r+b") as file:
            file.seek(sizes[1] - 1)
            file.write(b"\xff")
        frames = store.read_frames(A, 0, 3)
        assert next(frames) == frame(0)
        with pytest.raises(StoreDamagedError, match="frame 1"):
            next(frames)


def test_records_that_changed_places_are_damage(tmp_path: Path) -> None:
    first, second = make(tmp_path, 2)
    content = log_file(tmp_path).read_bytes()
    start = FILE_HEADER_BYTES
    assert first - start == second - first
    log_file(tmp_path).write_bytes(content[:start] + content[first:] + content[start:first])
    with Store.open(tmp_path, sync=False) as store, pytest.raises(StoreDamagedError, match="frame 1 lies in its place"):
        list(store.read_frames(A, 0, 2))


def test_a_damaged_session_is_listed_closed_forked_below_the_damage_and_deleted(tmp_path: Path) -> None:
    sizes = make(tmp_path, 4)
    content = bytearray(log_file(tmp_path).read_bytes())
    content[sizes[1] + 30] ^= 1
    log_file(tmp_path).write_bytes(content)
    with Store.open(tmp_path) as store:
        assert [summary.opened.session_id for summary in store.summaries()] == [A]
        store.fork_session(new_session(B), A, 0, 2)
        store.add_frame(B, frame(2))
        assert list(store.read_frames(B, 0, 3)) == [frame(index) for index in range(3)]
        with pytest.raises(StoreDamagedError):
            store.fork_session(new_session("session-c"), A, 0, 3)
        store.close_session(A, "ERROR", 1, {})
        store.delete_session(A)
        assert store.session_ids() == [B]


@pytest.mark.parametrize("cut", [None, 0, 5, -1])
@pytest.mark.parametrize("made_sure_by", ["finish", "rewind", "fork", "close"])
def test_frames_that_the_catalogue_is_sure_of_are_not_taken_for_a_torn_tail(
    tmp_path: Path, made_sure_by: str, cut: int | None
) -> None:
    make(tmp_path, 3)
    with Store.open(tmp_path) as store:
        if made_sure_by == "finish":
            store.add_turn(A, turn(0, 0, 3))
            store.finish_turn(A, 0)
        elif made_sure_by == "rewind":
            store.rewind(A, 3)
        elif made_sure_by == "fork":
            store.fork_session(new_session(B), A, 0, 3)
        else:
            store.close_session(A, "CLIENT", 1, {})
    if cut is None:
        log_file(tmp_path).unlink()
    else:
        log_file(tmp_path).write_bytes(log_file(tmp_path).read_bytes()[:cut])
    with Store.open(tmp_path) as store, pytest.raises(StoreDamagedError, match="frames below 3"):
        list(store.read_frames(A, 0, 3))


def test_a_full_disk_fails_the_call_and_leaves_the_session_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = make(tmp_path, 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Store.open(tmp_path) as store, caplog.at_level(logging.WARNING):
        for room in (0, 10, 40):
            resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[1] + room, hard))
            try:
                with pytest.raises(StoreFullError, match="frames-0") as raised:
                    store.add_frame(A, frame(2))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert isinstance(raised.value.__cause__, OSError)
            assert raised.value.__cause__.errno in (errno.ENOSPC, errno.EFBIG)
            assert store.read_session(A).next_frame == 2
        store.add_frame(A, frame(2))
        assert list(store.read_frames(A, 0, 3)) == [frame(index) for index in range(3)]
    assert caplog.records == []


def test_a_catalogue_that_has_no_room_is_told_from_one_that_fails(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "catalogue", isolation_level=None)) as db:
        db.execute("CREATE TABLE rows (value BLOB)")
        db.execute("PRAGMA max_page_count = 4")
        with pytest.raises(sqlite3.Error) as full:
            db.execute("INSERT INTO rows VALUES (zeroblob(100000))")
        with pytest.raises(sqlite3.Error) as other:
            db.execute("INSERT INTO columns VALUES (1)")
    assert type(refused(tmp_path, full.value)) is StoreFullError
    assert type(refused(tmp_path, other.value)) is StoreFailedError
