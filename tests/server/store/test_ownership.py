"""One owner at a time of a directory of one format, which nobody else may read."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cutscene_server.store import (
    Store,
    StoreError,
    StoreFailedError,
    StoreFormatError,
    StoreInUseError,
    StoreLostError,
)

from .samples import add_frames, frame, log_file, new_session, turn

A, B = "session-a", "session-b"


def test_two_owners_are_refused_and_the_first_one_is_named(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        with pytest.raises(StoreInUseError, match=f"process {os.getpid()}"):
            Store.open(tmp_path)
        program = "import sys, pathlib, cutscene_server.store as s; s.Store.open(pathlib.Path(sys.argv[1]))"
        other = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert f"StoreInUseError: {tmp_path} is open in process {os.getpid()}" in other.stderr
        store.create_session(new_session())
    Store.open(tmp_path).close()


def test_where_the_lock_fails_the_fence_stops_the_earlier_owner(tmp_path: Path) -> None:
    with Store.open(tmp_path) as earlier:
        earlier.create_session(new_session())
        add_frames(earlier, A, 0, 1)
        (tmp_path / "lock").unlink()  # what an administrator should not do
        with Store.open(tmp_path) as later:
            calls: list[Callable[[], object]] = [
                lambda: earlier.create_session(new_session(B)),
                lambda: earlier.fork_session(new_session(B), A, 0, 1),
                lambda: earlier.rewind(A, 0),
                lambda: earlier.add_turn(A, turn(0, 1)),
                lambda: earlier.add_frame(A, frame(1)),
                lambda: earlier.close_session(A, "CLIENT", 0, {}),
                lambda: earlier.delete_session(A),
            ]
            for call in calls:
                with pytest.raises(StoreLostError, match="belongs to owner 2"):
                    call()
            add_frames(later, A, 1, 2)
            assert later.read_session(A).next_frame == 2


@pytest.mark.parametrize("found", ["2", "none", ""])
def test_another_format_is_refused_by_both_names(tmp_path: Path, found: str) -> None:
    Store.open(tmp_path).close()
    (tmp_path / "format").write_text(f"{found}\n")
    if found == "none":
        (tmp_path / "format").unlink()
    with pytest.raises(StoreFormatError, match=f"has format {found}.*format 1"):
        Store.open(tmp_path)


def test_another_version_of_the_catalogue_is_refused_by_both_names(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with sqlite3.connect(tmp_path / "catalogue.sqlite") as catalogue:
        catalogue.execute("PRAGMA user_version = 7")
    catalogue.close()
    with pytest.raises(StoreFormatError, match=r"version 7.*version 1"):
        Store.open(tmp_path)


def test_what_is_no_catalogue_and_what_is_no_directory(tmp_path: Path) -> None:
    Store.open(tmp_path / "data").close()
    (tmp_path / "data" / "catalogue.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreFailedError, match=r"catalogue\.sqlite"):
        Store.open(tmp_path / "data")
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailedError, match="file"):
        Store.open(tmp_path / "file")


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.session_ids()


def test_others_cannot_read_the_directory(tmp_path: Path) -> None:
    with Store.open(tmp_path / "data") as store:
        store.create_session(new_session())
        add_frames(store, A, 0, 1)
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert log_file(tmp_path / "data").stat().st_mode & 0o077 == 0
