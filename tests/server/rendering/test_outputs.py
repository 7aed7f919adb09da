"""Where films go: whole or not at all, never outside, and a store's secrets nowhere."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutscene_server.config import ServerConfig
from cutscene_server.errors import ConfigError, NoRoom, StorageFailed, WrongMoment
from cutscene_server.rendering.outputs import (
    CHUNK_BYTES,
    LOOK_EVERY_S,
    LOOK_PAUSES,
    LocalDirectory,
    Output,
    open_output,
)
from object_store import SECRET, Bucket, object_store

NAME = "0123456789abcdef0123456789abcdef/007-tavern.mp4"
OTHER = NAME.replace("007", "008")
MOST = 1 << 30  # bytes of films


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with object_store() as found:
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        yield found


def made(output: Output, data: bytes) -> Path:
    path = output.workshop / "made.mp4"
    path.write_bytes(data)
    return path


async def read(output: Output, name: str) -> list[bytes]:
    return [piece async for piece in output.read(name)]


async def test_a_directory_has_a_film_once_it_is_whole(tmp_path: Path) -> None:
    output = open_output(str(tmp_path / "films"), tmp_path, MOST)
    data = os.urandom(2 * CHUNK_BYTES + 5)
    path = made(output, data)
    await output.put(path, NAME)
    assert not path.exists()
    assert (tmp_path / "films" / NAME).read_bytes() == data
    pieces = await read(output, NAME)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= CHUNK_BYTES
    await output.put(made(output, b"again"), NAME)
    assert await read(output, NAME) == [b"again"]


@pytest.mark.parametrize(
    "name", ["../x.mp4", "/etc/passwd", "a/b.mp4", NAME.replace("/", "/../"), NAME + "/x", NAME.replace("tavern", "")]
)
async def test_nothing_but_a_film_s_name_leads_anywhere(tmp_path: Path, name: str) -> None:
    output = open_output(str(tmp_path / "films"), tmp_path, MOST)
    with pytest.raises(ValueError, match="no film's name"):
        await output.put(made(output, b""), name)
    with pytest.raises(ValueError, match="no film's name"):
        await read(output, name)


async def test_a_film_that_is_gone_or_cannot_be_put_is_said_so(tmp_path: Path) -> None:
    output = open_output(str(tmp_path / "films"), tmp_path, MOST)
    with pytest.raises(WrongMoment, match="any more"):
        await read(output, NAME)
    (tmp_path / "films" / NAME.partition("/")[0]).write_text("in the way")
    with pytest.raises(StorageFailed):
        await output.put(made(output, b"film"), NAME)


class Watched(LocalDirectory):
    """Tells how often all films were looked up, on a clock that stands but for the second that a look takes."""

    def __init__(self, folder: Path, max_films: int) -> None:
        workshop = folder / ".unfinished"
        workshop.mkdir(parents=True)
        super().__init__(folder, workshop, max_films, lambda: self.seconds)
        self.seconds = 0.0
        self.looks = 0

    def _used_bytes(self) -> int:
        self.looks += 1
        self.seconds += 1
        return super()._used_bytes()


async def test_films_in_a_directory_have_a_limit_that_is_named(tmp_path: Path) -> None:
    output = Watched(tmp_path / "films", 1000)
    await output.put(made(output, bytes(600)), NAME)
    (tmp_path / "films" / "somebody-else-s.mp4").write_bytes(bytes(5000))
    await output.check_room()
    path = made(output, bytes(401))
    with pytest.raises(NoRoom, match=r"take 600 bytes, and may take 1000 \(max_films\)") as raised:
        await output.put(path, OTHER)
    assert raised.value.retry_after_s
    assert not (tmp_path / "films" / OTHER).exists()
    await output.put(made(output, bytes(400)), OTHER)
    with pytest.raises(NoRoom, match="max_films"):
        await output.check_room()
    (tmp_path / "films" / NAME).unlink()
    output.seconds += LOOK_PAUSES
    await output.check_room()


async def test_a_film_is_put_in_place_of_itself_where_there_is_no_more_room(tmp_path: Path) -> None:
    """As after a crash between its being put and that being noted."""
    before = Watched(tmp_path / "films", 1000)
    await before.put(made(before, bytes(600)), NAME)
    await before.put(made(before, b"a" * 400), OTHER)
    output = LocalDirectory(tmp_path / "films", before.workshop, 1000)
    await output.put(made(output, b"b" * 400), OTHER)
    assert b"".join(await read(output, OTHER)) == b"b" * 400
    with pytest.raises(NoRoom, match="take 1000 bytes"):
        await output.put(made(output, bytes(401)), OTHER)


async def test_films_are_counted_along_and_not_looked_up_whenever_there_is_one_more(tmp_path: Path) -> None:
    output = Watched(tmp_path / "films", 1000)
    await output.put(made(output, bytes(300)), NAME)
    await output.put(made(output, bytes(500)), NAME)  # instead of it
    await output.put(made(output, bytes(400)), OTHER)
    await output.remove([OTHER, OTHER])
    await output.put(made(output, bytes(500)), OTHER)
    assert output.looks == 1
    for _ in range(20):
        with pytest.raises(NoRoom, match="take 1000 bytes"):
            await output.check_room()
    assert output.looks == 1, "a refusal looks again, but not at once"
    output.seconds += LOOK_PAUSES
    for _ in range(20):
        with pytest.raises(NoRoom, match="take 1000 bytes"):
            await output.check_room()
    assert output.looks == 2


async def test_what_others_write_into_the_directory_is_seen_in_time(tmp_path: Path) -> None:
    output = Watched(tmp_path / "films", 1000)
    await output.check_room()
    film = tmp_path / "films" / NAME
    film.parent.mkdir()
    film.write_bytes(bytes(1000))
    await output.check_room()
    output.seconds += LOOK_EVERY_S
    with pytest.raises(NoRoom, match="take 1000 bytes"):
        await output.check_room()


async def test_films_that_come_at_once_do_not_all_take_the_same_room(tmp_path: Path) -> None:
    output = Watched(tmp_path / "films", 1000)
    paths = [output.workshop / f"{number}.mp4" for number in range(4)]
    for path in paths:
        path.write_bytes(bytes(400))
    names = [NAME.replace("007", f"{number:03d}") for number in range(4)]
    done = await asyncio.gather(*map(output.put, paths, names), return_exceptions=True)
    assert [type(one) for one in done].count(NoRoom) == 2


async def test_films_that_are_removed_go_and_nothing_else(tmp_path: Path) -> None:
    output = open_output(str(tmp_path / "films"), tmp_path, MOST)
    for name in (NAME, OTHER):
        await output.put(made(output, b"film"), name)
    folder = (tmp_path / "films" / NAME).parent
    (folder / "notes.txt").write_text("a person's")
    await output.remove([NAME, NAME.replace("007", "009")])
    assert sorted(path.name for path in folder.iterdir()) == ["008-tavern.mp4", "notes.txt"]
    (folder / "notes.txt").unlink()
    await output.remove([OTHER])
    assert not folder.exists()
    with pytest.raises(ValueError, match="no film's name"):
        await output.remove(["../films"])


async def test_a_film_that_cannot_be_removed_is_said_so(tmp_path: Path) -> None:
    output = open_output(str(tmp_path / "films"), tmp_path, MOST)
    (tmp_path / "films" / NAME).mkdir(parents=True)
    with pytest.raises(StorageFailed):
        await output.remove([NAME])


def test_a_directory_that_cannot_be_is_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="render_output"):
        open_output(str(tmp_path / "file" / "films"), tmp_path, MOST)


@pytest.mark.parametrize("size", [1000, 12 << 20], ids=["whole", "in parts"])
async def test_a_store_has_a_film_once_it_is_whole(
    tmp_path: Path, bucket: Bucket, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "renders").mkdir()
    output = open_output("s3://bucket/films/2026", tmp_path, MOST)
    data = os.urandom(size)
    await output.put(made(output, data), NAME)
    ((key, stored),) = bucket.objects.items()
    assert key == f"/bucket/films/2026/{NAME}"
    assert stored == data
    assert bucket.content_types[key] == "video/mp4"
    assert bucket.put_in_parts == (size > 5 << 20)
    assert bucket.uploads == {}
    pieces = await read(output, NAME)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= CHUNK_BYTES
    assert SECRET not in caplog.text


async def test_a_store_that_refuses_is_said_so_without_its_secrets(
    tmp_path: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    output = open_output("s3://bucket", tmp_path, MOST)
    with pytest.raises(WrongMoment, match="any more"):
        await read(output, NAME)
    bucket.refuse = True
    with pytest.raises(StorageFailed) as put:
        await output.put(made(output, b"film"), NAME)
    with pytest.raises(StorageFailed) as got:
        await read(output, NAME)
    assert bucket.objects == {}
    for told in (str(put.value), str(got.value)):
        assert bucket.address not in told, "a client learns nothing of the store"
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "place",
    [
        "",
        "s3://",
        "s3:///films",
        "s3://key:secret@bucket",
        "s3://UPPER/films",
        "s3://bucket/a?b",
        "gs://bucket",
        "a\0b",
    ],
)
def test_what_is_no_place_for_films_is_a_wrong_configuration(place: str) -> None:
    with pytest.raises(ConfigError, match="render_output") as raised:
        ServerConfig(render_output=place)
    assert "secret" not in str(raised.value)
