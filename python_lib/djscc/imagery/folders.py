# SPDX-License-Identifier: GPL-3.0-or-later
"""Read tiles from a folder, as EuroSAT comes: one folder a class, or no class folders at all. A .zip reads the same way.

Pictures of 8 bits come as three bands (grey ones as one, for who wants one). A TIFF that is more than that, of 16 bits or of other
than one or three bands, is read as GeoTIFF with all its bands (``djscc.imagery.geotiff``).
"""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from djscc.errors import DjsccError

MAXIMUM_FILE = 1 << 28  # bytes of a tile's file in an archive, which may claim any size
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


class ImageError(DjsccError):
    """An image or folder of images that cannot be used; the message names it and says what to do."""


@dataclass(frozen=True)
class TileSet:
    """Tiles of one size with their names and, where the folders name classes, their labels.

    ``images`` is uint8 (N, H, W, bands); ``labels`` int64 (N,) indices into ``classes``, or None; ``names`` are paths relative
    to the folder.
    """

    images: NDArray[np.uint8]
    names: tuple[str, ...]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def take(self, count: int | None) -> TileSet:
        """The first ``count`` tiles, spread evenly over the set so that every class is there; None takes all."""
        if count is None or count >= len(self):
            return self
        if count < 1:
            raise ImageError(f"limit {count}: ask for at least one tile")
        index = (np.arange(count) * len(self)) // count
        labels = None if self.labels is None else self.labels[index]
        return TileSet(self.images[index], tuple(self.names[i] for i in index), labels, self.classes)


def decode_image(data: bytes, name: str, scaled: bool = False, bands: int | None = None) -> NDArray[np.uint8]:
    """Decode one image to uint8 (H, W, bands); raises ImageError with ``name`` when it does not decode.

    TIFF samples of more than 8 bits are scaled between two percentiles of each band if ``scaled``, otherwise refused. A grey
    picture of 8 bits has three equal bands, or one where ``bands`` is 1.
    """
    try:
        if name.lower().endswith((".tif", ".tiff")) and not _is_picture(data):
            from djscc.imagery.geotiff import read

            raster = read(data, name)
            if raster.samples.dtype != np.uint8 and not scaled:
                raise ImageError(
                    f"{name}: samples are {raster.samples.dtype}, not 8-bit; scale all tiles of a folder alike, with "
                    "`djscc scale` and --range"
                )
            return raster.grey()
        with Image.open(io.BytesIO(data)) as image:
            deep = any(";16" in str(tile.args) for tile in image.tile)  # Pillow cuts 16-bit RGB down to 8
            image.load()
            if deep:
                raise ImageError(
                    f"{name}: samples are of 16 bits, not 8; convert it to a GeoTIFF, or to 8-bit RGB first"
                )
            if image.mode not in ("RGB", "RGBA", "L", "P", "CMYK", "1", "LA"):
                raise ImageError(f"{name}: pixel type {image.mode} is not 8-bit; convert it to 8-bit RGB first")
            if bands == 1 and image.mode in ("L", "LA", "1"):
                return np.asarray(image.convert("L"), dtype=np.uint8)[:, :, None]
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise ImageError(f"{name}: not an image that can be decoded ({error}); remove or replace it") from error


def _is_picture(data: bytes) -> bool:
    """True for a TIFF that is an 8-bit picture of one or three bands, with or without alpha."""
    try:
        with Image.open(io.BytesIO(data)) as image, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged tags
            tags = image.tag_v2  # type: ignore[attr-defined]
            alpha = tags.get(338, (0,))[0] in (1, 2)  # ExtraSamples
            colours = {"L": 1, "P": 1, "1": 1, "LA": 1, "RGB": 3, "RGBA": 3}.get(image.mode)
            shallow = max(tags.get(258, (1,))) <= 8  # BitsPerSample: Pillow cuts 16-bit RGB down to 8
            return shallow and tags.get(277, 1) == (colours or 0) + alpha  # SamplesPerPixel
    except Exception:  # what Pillow cannot open, GDAL may
        return False


def load_image(path: str | Path, bands: int | None = None) -> NDArray[np.uint8]:
    """Read one image file to uint8 (H, W, bands); a grey picture has three, or one where ``bands`` is 1.

    A GeoTIFF of more than 8 bits is scaled from the 2nd to the 98th percentile of each band to grey levels; `djscc scale` scales
    otherwise beforehand.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return decode_image(data, str(path), scaled=True, bands=bands)


def as_shown(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a display shows of (..., bands): the first three bands, or the first in grey where there are fewer, as (..., 3)."""
    return image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and file.is_file():
                yield file.relative_to(path).as_posix(), file.read_bytes()
    elif path.suffix.lower() == ".zip" and path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
                    name = entry.filename
                    of_macos = "__MACOSX" in name.split("/")
                    if not name.lower().endswith(SUFFIXES) or of_macos:
                        continue
                    if entry.file_size > MAXIMUM_FILE:
                        raise ImageError(
                            f"{path}: {name} is {entry.file_size >> 20} MiB when unpacked, a tile has {MAXIMUM_FILE >> 20} at most"
                        )
                    yield name, archive.read(name)
        except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError) as error:  # RuntimeError: encrypted
            raise ImageError(f"{path}: not a zip archive that can be read ({error}); fetch it again") from error
    else:
        raise ImageError(f"{path}: no such folder (nor .zip); give a folder of images, one folder a class")


def load_tiles(paths: str | Path | Sequence[str | Path], bands: int | None = None) -> TileSet:
    """Load every image below one or more folders (or .zip archives); all must have one size.

    The class of a tile is the name of the folder that it lies in; there are labels only when there are at least two such
    folders. Grey pictures have three bands, or one where ``bands`` is 1. Raises ImageError for a missing folder, no images, an
    image that does not decode, or unequal sizes.
    """
    sources = [paths] if isinstance(paths, (str, Path)) else list(paths)
    images: list[NDArray[np.uint8]] = []
    names: list[str] = []
    for source in sources:
        for name, data in _files(Path(source)):
            image = decode_image(data, f"{source}: {name}", bands=bands)
            if images and image.shape != images[0].shape:
                shapes = [f"{w} x {h} of {c} bands" for h, w, c in (image.shape, images[0].shape)]
                raise ImageError(
                    f"{source}: {name} is {shapes[0]}, the tiles before it {shapes[1]}; a tile folder holds tiles of one size"
                )
            images.append(image)
            names.append(name)
    if not images:
        raise ImageError(f"{', '.join(map(str, sources))}: no images ({', '.join(SUFFIXES)}) below it")
    parents = [Path(name).parent.name for name in names]
    classes = tuple(sorted(set(parents)))
    labels = None
    if len(classes) > 1:
        labels = np.array([classes.index(parent) for parent in parents], dtype=np.int64)
    return TileSet(np.stack(images), tuple(names), labels, classes if labels is not None else ())
