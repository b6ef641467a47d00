"""What is found to be the same picture and what is not; the numbers against plain loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_photos import photo
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance

from toolkit import images
from toolkit.data import duplicates
from toolkit.data.duplicates import compare, find_duplicates, find_identical, linked, thumbnail, thumbnails
from toolkit.errors import PictureError


def save(path: Path, picture: Image.Image | NDArray[np.uint8], **options: object) -> Path:
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    image.save(path, **options)
    return path


def with_logo(image: Image.Image) -> Image.Image:
    ImageDraw.Draw(image).rectangle((10, 90, 60, 105), fill=(90, 90, 90))
    return image


COPIES: list[tuple[str, Callable[[Image.Image], Image.Image], str, bool]] = [
    ("the same", lambda image: image, ".png", False),
    ("recompressed", lambda image: image, ".jpg", False),
    ("half the size", lambda image: image.reduce(2), ".jpg", False),
    ("three times the size", lambda image: image.resize((480, 360)), ".jpg", False),
    ("another shape", lambda image: image.resize((200, 120)), ".jpg", False),
    ("darker", lambda image: ImageEnhance.Brightness(image).enhance(0.6), ".jpg", False),
    ("less contrast", lambda image: ImageEnhance.Contrast(image).enhance(0.5), ".jpg", False),
    ("grey", lambda image: image.convert("L"), ".jpg", False),
    ("CMYK", lambda image: image.convert("CMYK"), ".jpg", False),
    ("with a logo", with_logo, ".jpg", False),
    ("2 % cut off", lambda image: image.crop((2, 1, 158, 119)), ".jpg", False),
    ("mirrored", lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), ".jpg", True),
    ("mirrored and darker", lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).point(lambda v: v * 0.6),
     ".jpg", True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "suffix", "mirrored"), COPIES, ids=[row[0] for row in COPIES])
def test_a_copy_is_found(
    tmp_path: Path, name: str, change: Callable[[Image.Image], Image.Image], suffix: str, mirrored: bool
) -> None:
    paths = [save(tmp_path / "other.jpg", photo(8)), save(tmp_path / "original.jpg", photo(1), quality=92)]
    paths.append(save(tmp_path / f"copy{suffix}", change(Image.fromarray(photo(1)))))
    (pair,) = find_duplicates(paths)
    assert (pair.first, pair.second, pair.mirrored) == (1, 2, mirrored)
    assert pair.likeness > 0.75


def test_different_pictures_are_not(tmp_path: Path) -> None:
    assert not find_duplicates([save(tmp_path / f"{seed}.jpg", photo(seed)) for seed in range(60)])


def plain(seed: int) -> NDArray[np.uint8]:
    """A shaded wall, the same each time, with a small object that differs."""
    y, x = np.mgrid[0:1:120j, 0:1:160j]
    image = np.repeat((230 - 60 * x - 50 * y**2)[..., None], 3, axis=2)
    top, left = 12 + 16 * (seed // 6), 10 + 22 * (seed % 6)
    image[top : top + 15, left : left + 20] = photo(seed, (15, 20))
    return image.astype(np.uint8)


def test_plain_grounds_are_not_merged(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{seed}.jpg", plain(seed)) for seed in range(30)]
    signs = duplicates._hash_signs(thumbnails(paths))
    near = np.triu((64 - signs @ signs.T) / 2 <= duplicates.DISTANCE, 1)
    assert near.sum() > 100  # the hash alone would merge most of them
    assert not find_duplicates(paths)


def test_pictures_of_one_colour_have_nothing_in_common(tmp_path: Path) -> None:
    assert not find_duplicates([save(tmp_path / f"{v}.png", np.full((40, 50, 3), v, np.uint8)) for v in (0, 90, 255)])


def test_exif_orientation_counts(tmp_path: Path) -> None:
    turned = Image.fromarray(photo(1)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    paths = [save(tmp_path / "a.jpg", photo(1)), save(tmp_path / "b.jpg", turned, exif=exif)]
    (pair,) = find_duplicates(paths)
    assert pair.likeness > 0.95
    assert not find_duplicates([paths[0], save(tmp_path / "c.jpg", turned)])  # turned by its pixels


def test_a_jpeg_that_pillow_refuses(tmp_path: Path) -> None:
    """Damaged in its middle: training takes it as OpenCV mends it, so it is compared like that."""
    data = bytearray(save(tmp_path / "a.jpg", photo(1, (480, 640)), quality=90).read_bytes())
    at = len(data) * 9 // 10
    data[at : at + 4] = b"\xff\xc4\x00\x03"  # a table that is too short
    (tmp_path / "b.jpg").write_bytes(data)
    images.decode(tmp_path / "b.jpg")
    with pytest.raises((OSError, SyntaxError, ValueError)):
        Image.open(tmp_path / "b.jpg").load()
    assert [(p.first, p.second) for p in find_duplicates([tmp_path / "a.jpg", tmp_path / "b.jpg"])] == [(0, 1)]


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(PictureError, match=r"a\.jpg: is not a picture"):
        find_duplicates([tmp_path / "a.jpg"])


@pytest.mark.parametrize("size", [(32, 32), (45, 70), (20, 31), (1, 1), (120, 100), (256, 384), (400, 300)])
def test_a_thumbnail_is_the_mean_of_equal_cells(tmp_path: Path, size: tuple[int, int]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, size, np.uint8) if min(size) < 128 else photo(1, size)[..., 0]
    # Each pixel cut into 32 x 32, so that every cell has whole ones: exact, without weights.
    parts = np.repeat(np.repeat(grey.astype(np.float64), 32, axis=0), 32, axis=1)
    expected = parts.reshape(32, size[0], 32, size[1]).mean(axis=(1, 3))
    found = thumbnail(save(tmp_path / "a.png", grey)).astype(np.float64)
    # Large pictures are first reduced by whole blocks, which need not meet the cells' edges.
    assert np.abs(found - expected).mean() <= 0.51
    assert np.abs(found - expected).max() <= (12 if min(size) >= 128 else 0.51)


def one_hash(small: NDArray[np.uint8]) -> list[int]:
    """64 bits: each of eight bands, cut into nine columns of 32/9 pixels, compared with its right neighbour."""
    bits = []
    for row in range(8):
        band = small[4 * row : 4 * row + 4].astype(np.float64).mean(axis=0)
        means = np.repeat(band, 9).reshape(9, 32).mean(axis=1)
        bits += [int(means[k + 1] > means[k]) for k in range(8)]
    return bits


def one_detail(small: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey = small.astype(np.float64)
    detail = [[grey[y, x] - grey[y - 2 : y + 3, x - 2 : x + 3].mean() for x in range(2, 30)] for y in range(2, 30)]
    return np.ravel(detail)


def test_hash_and_likeness_are_those_of_plain_loops() -> None:
    random = np.random.default_rng(3)
    first = random.integers(0, 256, (32, 32), np.uint8)
    second = np.clip(first + random.normal(0, 25, (32, 32)), 0, 255).astype(np.uint8)[:, ::-1]
    (pair,) = compare(np.stack([first, second]), 64, 0.5)
    unmirrored = second[:, ::-1]
    assert pair.mirrored
    assert pair.distance == sum(a != b for a, b in zip(one_hash(first), one_hash(unmirrored), strict=True))
    a, b = one_detail(first), one_detail(unmirrored)
    assert pair.likeness == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-5)


def test_clusters_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In small blocks and parts, and against every pair compared by itself."""
    random = np.random.default_rng(5)
    bases = random.integers(0, 256, (8, 32, 32)).astype(np.float64)
    chosen = random.integers(0, 8, 50)
    small = np.clip(bases[chosen] + random.normal(0, random.uniform(0, 120, (50, 1, 1)), (50, 32, 32)), 0, 255)
    small = small.astype(np.uint8)
    small[::5] = small[::5, :, ::-1]
    alone = [compare(small[[i, j]], 14, 0.5) for i in range(50) for j in range(i + 1, 50)]
    places = [(i, j) for i in range(50) for j in range(i + 1, 50)]
    expected = linked(50, [place for place, pairs in zip(places, alone, strict=True) if pairs])
    assert 5 < len(set(expected.tolist())) < 45
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    monkeypatch.setattr(duplicates, "_CHUNK", 3)
    pairs = compare(small, 14, 0.5)
    assert linked(50, [(pair.first, pair.second) for pair in pairs]).tolist() == expected.tolist()
    assert len(pairs) == 50 - len(set(expected.tolist()))  # a tree for each cluster


@pytest.mark.parametrize(
    ("count", "pairs", "expected"),
    [
        (0, [], []),
        (3, [], [0, 1, 2]),
        (4, [(1, 3)], [0, 1, 2, 1]),
        (5, [(3, 4), (1, 2), (2, 3)], [0, 1, 1, 1, 1]),
        (3, [(2, 2), (2, 0), (0, 2)], [0, 1, 0]),
    ],
)
def test_linked(count: int, pairs: list[tuple[int, int]], expected: list[int]) -> None:
    assert linked(count, pairs).tolist() == expected


def test_identical_files(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1"), ("d", b"1")):
        (tmp_path / name).write_bytes(content)
    assert find_identical([tmp_path / name for name in "abcd"]) == [(0, 2), (0, 3)]
