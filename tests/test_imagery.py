# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of tiles, and cutting images into tiles."""

import struct
import zipfile
import zlib

import numpy as np
import pytest
from djscc.imagery import ImageError, cut, load_image, load_tiles, paste
from PIL import Image


def write(path, size=(8, 8), value=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def test_classes_are_the_folders(tmp_path):
    write(tmp_path / "Forest/a.png")
    write(tmp_path / "River/b.png")
    tiles = load_tiles(tmp_path)
    assert tiles.classes == ("Forest", "River")
    assert tiles.labels.tolist() == [0, 1]
    assert tiles.names == ("Forest/a.png", "River/b.png")


def test_a_flat_folder_has_no_labels(tmp_path):
    write(tmp_path / "a.png")
    assert load_tiles(tmp_path).labels is None


def test_a_zip_reads_like_its_folder(tmp_path):
    write(tmp_path / "d/Forest/a.png", value=(1, 2, 3))
    write(tmp_path / "d/River/b.png")
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for name in ("Forest/a.png", "River/b.png"):
            archive.write(tmp_path / "d" / name, name)
    assert np.array_equal(load_tiles(tmp_path / "d.zip").images, load_tiles(tmp_path / "d").images)


def test_take_spreads_over_the_set(landsat):
    assert len(landsat) == 64
    assert landsat.take(4).names == tuple(landsat.names[i] for i in (0, 16, 32, 48))
    assert landsat.take(1000) is landsat
    with pytest.raises(ImageError, match="limit 0"):
        landsat.take(0)


def test_bad_folders_and_images_are_named(tmp_path):
    with pytest.raises(ImageError, match="no such folder"):
        load_tiles(tmp_path / "nowhere")
    with pytest.raises(ImageError, match="no images"):
        load_tiles(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n garbage")
    with pytest.raises(ImageError, match=r"broken\.png: not an image that can be decoded"):
        load_tiles(tmp_path)
    with pytest.raises(ImageError, match="cannot be read"):
        load_image(tmp_path / "missing.png")


def test_truncated_image_is_refused(tmp_path):
    write(tmp_path / "a.png", (64, 64))
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) - 30])
    with pytest.raises(ImageError, match=r"a\.png"):
        load_tiles(tmp_path)


def test_sixteen_bit_images_are_refused_not_clipped(tmp_path):
    Image.fromarray(np.full((8, 8), 5000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="8-bit"):
        load_tiles(tmp_path)


def test_unequal_sizes_are_refused(tmp_path):
    write(tmp_path / "a.png", (8, 8))
    write(tmp_path / "b.png", (8, 9))
    with pytest.raises(ImageError, match=r"b\.png is 8 x 9"):
        load_tiles(tmp_path)


@pytest.mark.parametrize("shape", [(64, 64, 3), (65, 130, 3), (1, 1, 1), (127, 64, 4)])
def test_cut_and_paste_give_the_image_back(shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    tiles = cut(image, 64)
    assert tiles.shape[1:] == (64, 64, shape[2])
    assert np.array_equal(paste(tiles, *shape[:2]), image)


def test_paste_refuses_the_wrong_count():
    with pytest.raises(ValueError, match="that takes 4"):
        paste(np.zeros((3, 8, 8, 3), np.uint8), 16, 16)


def test_colours_of_sixteen_bits_are_refused_not_cut(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + np.full((8, 3), 3000, ">u2").tobytes() for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    with pytest.raises(ImageError, match="samples are of 16 bits, not 8"):
        load_tiles(tmp_path)


def test_grey_pictures_have_one_band_for_who_wants_one(tmp_path):
    write(tmp_path / "a.png", mode="L", value=7)
    write(tmp_path / "b.png", mode="RGB", value=(7, 7, 7))
    assert load_image(tmp_path / "a.png").shape == (8, 8, 3)
    assert load_image(tmp_path / "a.png", bands=1).shape == (8, 8, 1)
    assert load_image(tmp_path / "b.png", bands=1).shape == (8, 8, 3)


def test_archives_as_they_come(tmp_path):
    write(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "T.ZIP", "w") as archive:
        archive.writestr("./Forest/a.png", (tmp_path / "a.png").read_bytes())
        archive.writestr("__MACOSX/Forest/._a.png", b"resource fork")
    assert load_tiles(tmp_path / "T.ZIP").names == ("./Forest/a.png",)
    with (
        zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.png", "w") as entry,
    ):
        for _ in range(300):
            entry.write(bytes(1 << 20))
    with pytest.raises(ImageError, match=r"a\.png is 300 MiB when unpacked, a tile has 256 at most"):
        load_tiles(tmp_path / "large.zip")
