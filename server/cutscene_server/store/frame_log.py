"""A timeline epoch's own frames as an append-only file, and the few such files that are open at once.

The file is ``MAGIC`` and a version, then records. A record is a header (the payload's length, its BLAKE2b-8, the CRC-32
of these two) and a payload (a msgpack list, the fields of ``StoredFrame`` in order). The header's own checksum makes a
length trustworthy: one that reaches past the end of the file is an append that a crash cut short, and no flipped bit.

A torn tail is what one interrupted append can leave: a record's beginning, with or without zeros behind it, or a last
record whose checksum does not hold. It is reported, and cut off by the next append. Anything else that does not check
is damage: the frames before it can be read, none can be added. So is a tail that looks torn where the catalogue is sure
that there were frames.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import struct
import zlib
from array import array
from collections import OrderedDict
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import msgpack

from cutscene_server.store.data_directory import sync_directory
from cutscene_server.store.errors import StoreDamagedError, refused
from cutscene_server.store.records import SESSION_ID, StoredFrame

log = logging.getLogger("cutscene_server.store")

MAGIC = b"CUTFRAME"
FILE_HEADER = MAGIC + (1).to_bytes(4, "little")
RECORD_HEADER = struct.Struct("<I8sI")
MAX_TORN_BYTES = 16 << 20  # a record's, generously
FIELDS = tuple(field.name for field in dataclasses.fields(StoredFrame))

_sync_file = os.fdatasync if hasattr(os, "fdatasync") else os.fsync  # macOS has no fdatasync


def _checksum(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=8).digest()


def _record_of(frame: StoredFrame) -> bytes:
    payload: bytes = msgpack.packb([getattr(frame, name) for name in FIELDS])
    head = struct.pack("<I8s", len(payload), _checksum(payload))
    return head + zlib.crc32(head).to_bytes(4, "little") + payload


def _parse_header(header: bytes) -> tuple[int, bytes] | None:
    """The payload's length and checksum; None if this is no header."""
    if len(header) < RECORD_HEADER.size:
        return None
    length, checksum, crc = RECORD_HEADER.unpack(header)
    return (length, checksum) if zlib.crc32(header[:-4]) == crc else None


class FrameLog:
    """The frames of one file from ``first_frame`` on, found by an index that is built when the file is opened."""

    def __init__(self, path: Path, session_id: str, first_frame: int, sure_end: int, *, sync: bool) -> None:
        self._path = path
        self._session_id = session_id
        self._first_frame = first_frame
        self._sync = sync
        self._offsets = array("Q", [len(FILE_HEADER)])  # of each frame's record, and of the end of the last one
        self._headed = False  # whether the file has its header
        self._durable = (1, False)  # how many of the offsets, and whether the header, are known to be durable
        self._torn = False  # whether something lies behind the end
        self._settled = False  # whether the file's own name is known to be durable
        self._damage = ""  # what is wrong with the frame at ``intact_end``
        self._descriptor: int | None = None
        try:
            with suppress(FileNotFoundError):
                self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
            if self._descriptor is not None:
                with open(self._descriptor, "rb", buffering=1 << 20, closefd=False) as file:
                    self._scan(file, os.fstat(self._descriptor).st_size)
                if sync:  # what a killed process wrote but did not sync is read from here on as if it were durable
                    _sync_file(self._descriptor)
                self._durable = len(self._offsets), self._headed
        except OSError as error:
            self.close()
            raise refused(path, error) from error
        if self.intact_end < sure_end and not self._damage:
            self._damage = f"the file ends here, but had the frames below {sure_end}"
        if self._torn and not self._damage:
            fields = {"session_id": session_id, "frame": self.intact_end}
            log.warning("frame %d was torn by a crash (%s)", self.intact_end, path, extra=fields)

    @property
    def intact_end(self) -> int:
        """One past the last frame that can be read."""
        return self._first_frame + len(self._offsets) - 1

    @property
    def end_frame(self) -> int:
        """One past the last frame. Raises ``StoreDamagedError`` if that cannot be told."""
        if self._damage:
            raise StoreDamagedError(self._session_id, self.intact_end, self._path, self._damage)
        return self.intact_end

    def append(self, frame: StoredFrame, *, durable: bool = True) -> None:
        """Adds the frame at ``end_frame``; durable on return, or else with the next ``settle``. After a failure it is
        not there."""
        record = _record_of(frame)
        try:
            if self._descriptor is None:
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            if self._torn:
                self._cut(self._descriptor)
            self._torn = True
            written = record if self._headed else FILE_HEADER + record
            if os.write(self._descriptor, written) != len(written):
                raise OSError(errno.ENOSPC, "only a part was written")
        except OSError as error:
            if self._descriptor is not None:
                with suppress(OSError):  # tried once more before the next append
                    self._cut(self._descriptor)
            raise refused(self._path, error) from error
        self._torn, self._headed = False, True
        self._offsets.append(self._offsets[-1] + len(record))
        if durable:
            self.settle()

    def settle(self) -> None:
        """Makes everything that was appended durable. After a failure it is not there."""
        if self._descriptor is None:
            return
        try:
            self._make_durable(self._descriptor)
        except OSError as error:
            kept, self._headed = self._durable
            del self._offsets[kept:]
            self._torn = True
            with suppress(OSError):  # tried once more before the next append
                self._cut(self._descriptor)
            raise refused(self._path, error) from error
        self._durable = len(self._offsets), self._headed

    @property
    def byte_size(self) -> int:
        """Up to the end of the last frame."""
        return self._offsets[-1]

    def read(self, frame_index: int) -> StoredFrame:
        """Raises ``StoreDamagedError`` if the frame is not, or no longer, what was written."""
        position = frame_index - self._first_frame
        if not 0 <= position < len(self._offsets) - 1 or self._descriptor is None:
            raise self._damaged(frame_index, self._damage or "it is not in the file")
        offset = self._offsets[position]
        try:
            record = os.pread(self._descriptor, self._offsets[position + 1] - offset, offset)
        except OSError as error:
            raise refused(self._path, error) from error
        header, payload = _parse_header(record[: RECORD_HEADER.size]), record[RECORD_HEADER.size :]
        if header != (len(payload), _checksum(payload)):
            raise self._damaged(frame_index, "its checksum does not hold")
        try:
            frame = StoredFrame(*msgpack.unpackb(payload, use_list=False))
        except (ValueError, TypeError) as error:
            raise self._damaged(frame_index, f"it is no frame: {error}") from error
        if frame.frame_index != frame_index:
            raise self._damaged(frame_index, f"frame {frame.frame_index} lies in its place")
        return frame

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _damaged(self, frame_index: int, reason: str) -> StoreDamagedError:
        return StoreDamagedError(self._session_id, frame_index, self._path, reason)

    def _make_durable(self, descriptor: int) -> None:
        if self._sync:
            _sync_file(descriptor)
            if not self._settled:
                sync_directory(self._path.parent)
                sync_directory(self._path.parent.parent)
        self._settled = True

    def _cut(self, descriptor: int) -> None:
        os.ftruncate(descriptor, self._offsets[-1] if self._headed else 0)

    def _scan(self, file: BinaryIO, size: int) -> None:
        """Builds the index up to the end, the torn tail, or the damage."""
        found = file.read(len(FILE_HEADER))
        if found != FILE_HEADER:
            self._torn = bool(found) and (FILE_HEADER.startswith(found) or _is_unwritten(file, size))
            if found and not self._torn:
                self._damage = f"the file starts with {found!r}, not with {FILE_HEADER!r}"
            return
        self._headed = True
        while (offset := self._offsets[-1]) < size:
            header = _parse_header(file.read(RECORD_HEADER.size))
            if header is None:
                self._torn = _is_unwritten(file, size)
                if not self._torn:
                    self._damage = "its record's header does not check"
                return
            length, checksum = header
            end = offset + RECORD_HEADER.size + length
            if end > size or _checksum(file.read(length)) != checksum:
                self._torn = end >= size
                if not self._torn:
                    self._damage = "its checksum does not hold"
                return
            self._offsets.append(end)


def _is_unwritten(file: BinaryIO, size: int) -> bool:
    """Whether the rest is nothing, or zeros as file systems leave them that make a file longer before they fill it."""
    return size - file.tell() <= MAX_TORN_BYTES and not file.read().strip(b"\0")


class FrameLogs:
    """The frame logs of a directory. The ``most_open`` used last are open; the others wait on disk."""

    def __init__(self, directory: Path, *, sync: bool, most_open: int) -> None:
        self._directory = directory
        self._sync = sync
        self.most_open = most_open
        self._open: OrderedDict[tuple[str, int], FrameLog] = OrderedDict()

    def get(self, session_id: str, epoch: int, first_frame: int, sure_end: int) -> FrameLog:
        """That epoch's log. ``sure_end``: frames below it are known to have been durable once."""
        found = self._open.get((session_id, epoch))
        if found is None:
            found = FrameLog(self._path(session_id, epoch), session_id, first_frame, sure_end, sync=self._sync)
            self._open[session_id, epoch] = found
            if len(self._open) > self.most_open:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end((session_id, epoch))
        return found

    def remove(self, session_id: str, epoch: int) -> None:
        """Removes that epoch's file, if there is one."""
        if (opened := self._open.pop((session_id, epoch), None)) is not None:
            opened.close()
        self._path(session_id, epoch).unlink(missing_ok=True)

    def settle_removal(self, session_id: str) -> None:
        """Makes removals durable, and removes the session's directory if it is empty."""
        directory = self._session_directory(session_id)
        if directory.exists():
            sync_directory(directory)
            with suppress(OSError):
                directory.rmdir()

    def bytes_of(self, session_id: str, epoch: int) -> int:
        with suppress(FileNotFoundError):
            return self._path(session_id, epoch).stat().st_size
        return 0

    def session_bytes(self, session_id: str) -> int:
        with suppress(FileNotFoundError), os.scandir(self._session_directory(session_id)) as files:
            return sum(file.stat().st_size for file in files)
        return 0

    def total_bytes(self) -> int:
        with os.scandir(self._directory) as sessions:
            return sum(self.session_bytes(session.name) for session in sessions if SESSION_ID.fullmatch(session.name))

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def _path(self, session_id: str, epoch: int) -> Path:
        return self._session_directory(session_id) / f"frames-{epoch}.log"

    def _session_directory(self, session_id: str) -> Path:
        if SESSION_ID.fullmatch(session_id) is None:
            raise ValueError(f"{session_id!r} is not a session id")
        return self._directory / session_id
