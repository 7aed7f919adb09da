"""The ZIP around a session: its three entries, and nothing else.

``zipfile`` reads it, behind a reader that bounds what the ZIP can make it take into memory. What is refused here could
hide something, or is not what ``writing`` makes: other entries, compression, encryption, gaps, a second beginning.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator
from typing import IO, cast

from cutscene_server.session_file.layout import (
    DIGEST_BYTES,
    ENTRIES,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    Entry,
    refused,
)

MAX_DIRECTORY_BYTES = 128 << 10  # what may be read at once while the ZIP's directory is read; ours has 200 bytes
MAX_FRAMING_BYTES = 4 << 10  # headers and directory, over all three entries
_STREAMED = 0x08  # flag: an entry's size follows its bytes
_END_BYTES, _END_MAGIC = 22, b"PK\x05\x06"
_READ_BYTES = 1 << 20
_ZIP_ERRORS = (
    zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError, struct.error,
)  # fmt: skip


class Container:
    """The entries of one file."""

    def __init__(self, file: IO[bytes]) -> None:
        """Raises ``InvalidRequest`` unless this is a ZIP of just the entries there should be."""
        reads = _BoundedReads(file, MAX_DIRECTORY_BYTES)
        with zip_errors():
            self._zip = zipfile.ZipFile(cast("IO[bytes]", reads))
            self._check(file)
        reads.most = _READ_BYTES

    def size(self, name: str) -> int:
        return self._zip.getinfo(name).file_size

    def open(self, name: str) -> IO[bytes]:
        """An entry, to be read from its start. Its reads may raise what ``zip_errors`` translates."""
        with zip_errors():
            return self._zip.open(name)

    def manifest(self) -> bytes:
        if self.size(MANIFEST) > MAX_MANIFEST_BYTES:
            raise refused("file.manifest", f"has {self.size(MANIFEST)} bytes; allowed are {MAX_MANIFEST_BYTES}")
        with zip_errors(), self.open(MANIFEST) as entry:
            return entry.read()

    def check_entry(self, name: str, said: Entry) -> None:
        """Raises ``InvalidRequest`` unless an entry is just what the manifest says of it."""
        if self.size(name) != said.byte_size:
            raise refused(f"file.{name}", f"has {self.size(name)} bytes; the manifest says {said.byte_size}")
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        with zip_errors(), self.open(name) as entry:
            while read := entry.read(_READ_BYTES):
                digest.update(read)
        if digest.hexdigest() != said.blake2b:
            raise refused(f"file.{name}", "is not what it was when the file was made: its digest is another one")

    def _check(self, file: IO[bytes]) -> None:
        found = self._zip.infolist()
        names = [info.orig_filename for info in found]
        if names != list(ENTRIES):
            said = ", ".join(ascii(name[:40]) for name in names[:4]) + (", ..." if len(names) > 4 else "")
            raise refused("file.entries", f"found {said or 'none'}; expected {', '.join(ENTRIES)}, in this order")
        for info in found:
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise refused(f"file.{info.filename}", "is compressed; entries are stored as they are")
            if info.flag_bits & ~_STREAMED:
                raise refused(f"file.{info.filename}", f"has the flags {info.flag_bits:#x}; it must not be encrypted")
        starts = [info.header_offset for info in found]
        ends = [start + info.file_size for start, info in zip(starts, found, strict=True)]
        total = file.seek(0, io.SEEK_END)
        framing = total - sum(info.file_size for info in found)
        in_order = all(end < start for end, start in zip(ends, [*starts[1:], total], strict=True))
        if starts[0] != 0 or not in_order or not 0 < framing <= MAX_FRAMING_BYTES:
            raise refused("file.entries", f"their places and sizes do not make up the file's {total} bytes")
        file.seek(-_END_BYTES, io.SEEK_END)
        if file.read(4) != _END_MAGIC:
            raise refused("file", "goes on after its end")


@contextlib.contextmanager
def zip_errors() -> Iterator[None]:
    """What ``zipfile`` finds wrong with a file, in whatever way it says so, is ``InvalidRequest``."""
    try:
        yield
    except _ZIP_ERRORS as error:
        why = ascii(str(error))[:120] if str(error) else type(error).__name__
        raise refused("file", f"is not a whole session file ({why})") from None


class _BoundedReads:
    """A file of which nobody takes much at once, whatever sizes it names."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file = file
        self.most = most  # bytes
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            here = self.tell()
            size = self.seek(0, io.SEEK_END) - here
            self.seek(here)
        if size > self.most:
            raise zipfile.BadZipFile(f"{size} bytes were to be read at once")
        return self._file.read(size)

    def close(self) -> None:
        """The file belongs to whoever opened it."""
