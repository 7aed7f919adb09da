"""A film on disk is a whole one."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from cutscene_client.video import Pixels, mp4_writer

GREY: Pixels = np.full((32, 64, 3), 128, np.uint8)


def frames_of(film: Path) -> int:
    with av.open(str(film)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_film_has_every_frame_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    film = tmp_path / "films" / "one.mp4"
    with mp4_writer(film, 64, 32, 24.0) as sink:
        for _ in range(7):
            sink.add(GREY)
        assert not film.exists(), "half a film is none"
    assert frames_of(film) == 7
    assert list(film.parent.iterdir()) == [film]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, ValueError])
def test_a_film_that_is_not_finished_leaves_the_one_before_as_it_was(
    tmp_path: Path, fault: type[BaseException]
) -> None:
    film = tmp_path / "one.mp4"
    film.write_bytes(b"an earlier film")

    def write() -> None:
        with mp4_writer(film, 64, 32, 24.0) as sink:
            sink.add(GREY)
            raise fault

    with pytest.raises(fault):
        write()
    assert film.read_bytes() == b"an earlier film"
    assert list(tmp_path.iterdir()) == [film]
