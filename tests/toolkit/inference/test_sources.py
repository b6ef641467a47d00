"""What may be predicted on, in which order, under which name, and what is refused."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_bundle import flat_png

from toolkit.errors import PictureError, UserError
from toolkit.inference.sources import Picture, check_inputs, decode_ahead, expand, single_picture

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 250)]


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with pictures, and things that are none."""
    names = ["b.png", "a.jpg", "c.PNG", "sub/z.png", "sub/deep/y.png", "another/x.webp", ".hidden.png", ".cache/w.png"]
    for name in names:
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(flat_png((10, 20, 30), (2, 2)))
    (tmp_path / "album/notes.txt").write_text("x")
    (tmp_path / "album/clip.mp4").write_bytes(b"x")
    (tmp_path / "empty/inner").mkdir(parents=True)
    (tmp_path / "[odd].png").write_bytes(flat_png((1, 2, 3), (2, 2)))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "album"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Four frames of one colour each, without loss between them."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    for red, green, blue in COLOURS:
        writer.write(np.full((24, 32, 3), (blue, green, red), np.uint8))
    writer.release()
    return path


WALK = ["a.jpg", "b.png", "c.PNG", "another/x.webp", "sub/z.png", "sub/deep/y.png"]


@pytest.mark.parametrize(
    ("inputs", "sources"),
    [
        ("album/a.jpg", ["album/a.jpg"]),
        (Path("album/a.jpg"), ["album/a.jpg"]),
        ("album", [f"album/{name}" for name in WALK]),
        ("album/", [f"album/{name}" for name in WALK]),
        (Path("album"), [f"album/{name}" for name in WALK]),
        ("album/*.png", ["album/b.png"]),
        ("album/**/*.png", ["album/b.png", "album/sub/deep/y.png", "album/sub/z.png"]),
        ("album/[ab].*", ["album/a.jpg", "album/b.png"]),
        ("[odd].png", ["[odd].png"]),  # a file of that name comes before a pattern
        ("album/notes.txt", ["album/notes.txt"]),  # named by hand: its content decides
        (["album/b.png", "album/a.jpg", "album/b.png"], ["album/b.png", "album/a.jpg", "album/b.png"]),
        (b"x", ["bytes"]),
        (bytearray(b"x"), ["bytes"]),
        (memoryview(b"x"), ["bytes"]),
        (np.zeros((2, 2, 3), np.uint8), ["array"]),
        (Image.new("RGB", (2, 2)), ["image"]),
        (
            ["album/a.jpg", b"x", np.zeros((2, 2)), Image.new("L", (1, 1))],
            ["album/a.jpg", "bytes[1]", "array[2]", "image[3]"],
        ),
        ((name for name in ("album/b.png", "album/sub")), ["album/b.png", "album/sub/z.png", "album/sub/deep/y.png"]),
        ([], []),
    ],
)
def test_expand_names_pictures_in_order(inputs: Any, sources: list[str], album: Path) -> None:
    check_inputs(inputs)
    assert [picture.source for picture in expand(inputs)] == sources


def test_an_opened_file_keeps_its_name(album: Path) -> None:
    with Image.open("album/a.jpg") as image:
        assert [picture.source for picture in expand([image])] == ["album/a.jpg"]


NEAREST = "; did you mean 'album'?"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("albun", f"no file or folder called 'albun'{NEAREST}"),
        (["album", "albun"], f"no file or folder called 'albun'{NEAREST}"),
        (Path("album/zzz.jpg"), "no file or folder called 'album/zzz.jpg'"),
        ("nowhere/zzz.jpg", "no file or folder called 'nowhere/zzz.jpg'"),
        ("", "no file or folder called ''"),
        ("empty", "empty: no pictures in this folder or below (.jpg, "),
        ("album/*.tif", "no file matches the pattern 'album/*.tif'"),
        ("emp*", "no file matches the pattern 'emp*'"),  # a folder alone is no file
        (7, "cannot predict on int; expected a path, a folder,"),
        (None, "cannot predict on NoneType"),
        ({"a": 1}, "cannot predict on dict"),
        (["album/a.jpg", 7], "cannot predict on int"),
    ],
)
def test_wrong_inputs_are_refused_before_any_work(inputs: Any, message: str, album: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_inputs(inputs)
    assert str(caught.value).startswith(message)


def test_what_an_iterator_brings_is_refused_when_it_comes(album: Path) -> None:
    inputs = (item for item in ["album/a.jpg", "albun"])
    check_inputs(inputs)
    pictures = expand(inputs)
    assert next(pictures).source == "album/a.jpg"
    with pytest.raises(UserError, match="no file or folder called 'albun'"):
        next(pictures)


@pytest.mark.parametrize("path", ["album", "album/*.png", "album/clip.mp4"])
def test_several_are_not_one_picture(path: str, album: Path) -> None:
    with pytest.raises(UserError, match=r"is not one picture; use model\.predict"):
        single_picture(path)


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(picture.astype(int) - colour).max() <= 6)  # JPEG's rounding


def test_a_video_gives_its_frames(clip: Path) -> None:
    pictures = list(expand(str(clip)))
    assert [picture.source for picture in pictures] == [f"{clip}#frame{index}" for index in range(4)]
    for picture, colour in zip(pictures, COLOURS, strict=True):
        assert near(picture.decode()(), colour)
        picture.release()
        assert near(picture(), colour)  # read from the file again
        assert picture.milliseconds > 0


@pytest.mark.parametrize("content", [b"", b"not a video"])
@pytest.mark.parametrize("suffix", [".mp4", ".AVI"])
def test_a_broken_video_is_one_broken_picture(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    (picture,) = expand(path)
    with pytest.raises(PictureError, match="cannot be read as a video"):
        picture.decode()


@pytest.mark.parametrize("kind", ["path", "bytes", "array", "pil"])
def test_a_released_picture_can_be_had_again(kind: str, tmp_path: Path) -> None:
    data = flat_png((10, 20, 30), (4, 5))
    (tmp_path / "a.png").write_bytes(data)
    content: Any = {
        "path": tmp_path / "a.png",
        "bytes": data,
        "array": np.full((4, 5, 3), (10, 20, 30), np.uint8),
        "pil": Image.open(io.BytesIO(data)),
    }[kind]
    picture = Picture("x", content).decode()
    first = picture()
    assert picture() is first
    picture.release()
    np.testing.assert_array_equal(picture(), first)
    assert first.tolist() == [[[10, 20, 30]] * 5] * 4


def test_decode_ahead_keeps_order_and_its_bound() -> None:
    taken = 0

    class Slow(Picture):
        def decode(self, max_pixels: int = 0) -> Picture:
            time.sleep(0.002 * (int(self.source) % 5))  # later ones are often done first
            return self

    def feed() -> Iterator[Picture]:
        nonlocal taken
        for taken in range(1, 101):
            yield Slow(str(taken - 1), b"")

    for index, (picture, future) in enumerate(decode_ahead(feed(), 100, workers=4, depth=6)):
        assert future.result() is picture
        assert picture.source == str(index)
        assert taken <= index + 1 + 6
    assert taken == 100


def test_decode_ahead_that_is_left_early_ends_its_threads() -> None:
    pictures = (Picture(str(index), flat_png((1, 2, 3), (2, 2))) for index in range(1000))
    stream = decode_ahead(pictures, 100, workers=2, depth=4)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
