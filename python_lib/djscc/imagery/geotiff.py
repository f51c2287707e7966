# SPDX-License-Identifier: GPL-3.0-or-later
"""GeoTIFF in and out: samples of any type to the 8-bit tiles that a codec takes, and received images put back on the map.

A codec sees grey levels of 0 to 255. Samples of other types than uint8 are scaled to them band by band, linearly from ``low`` to
``high``, and clipped there; unless a range is given, those are the 2nd and 98th percentile of the band's valid samples. The scaling
does not travel in the frame: it follows from the original, and stands in the tags of whatever ``scale`` and ``georeference`` write.
Rasterio is needed here alone and imported when it is used: ``pip install djscc[geo]``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from djscc.imagery.folders import ImageError

PERCENTILES = (2.0, 98.0)
_LOW, _HIGH = "DJSCC_SCALING_LOW", "DJSCC_SCALING_HIGH"  # tags of a scaled file, one value for each band
_TYPE = "DJSCC_SCALING_TYPE"  # and the samples' type before

Samples = NDArray[Any]  # (H, W, bands)


@dataclass(frozen=True)
class Scaling:
    """For each band the sample values that become grey levels 0 and 255, and the type of those samples."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for low, high in zip(self.low, self.high, strict=True):
            if not (np.isfinite([low, high]).all() and low < high):
                raise ImageError(f"scaling from {low:g} to {high:g}: give two finite values, the lower one first")

    def to_grey(self, samples: Samples, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Samples (H, W, bands) to grey levels; what is not ``valid`` (H, W) becomes 0."""
        low, high = np.array(self.low), np.array(self.high)
        grey = 255 * (np.where(valid[:, :, None], samples, low).astype(np.float64) - low) / (high - low)
        return np.rint(np.clip(grey, 0, 255)).astype(np.uint8)

    def to_samples(self, grey: NDArray[np.uint8]) -> Samples:
        """Grey levels back to sample values of the type that they had."""
        dtype = np.dtype(self.dtype)
        low, high = np.array(self.low), np.array(self.high)
        values = low + grey * (high - low) / 255
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            values = np.rint(values).clip(limits.min, limits.max)
        return values.astype(dtype)

    def tags(self) -> dict[str, str]:
        """As tags of a file."""
        low, high = (" ".join(f"{v:.9g}" for v in values) for values in (self.low, self.high))
        return {_LOW: low, _HIGH: high, _TYPE: self.dtype}


@dataclass(frozen=True)
class Raster:
    """A file as it is: ``samples`` (H, W, bands), ``valid`` (H, W), where it lies (``place``: rasterio's crs and transform, ground
    control points or rational polynomials), the scaling that its tags tell of, if it was scaled before, and the value that marks
    samples outside the scene, if it has one."""

    name: str
    samples: Samples
    valid: NDArray[np.bool_]
    place: dict[str, Any]
    scaled: Scaling | None
    nodata: float | None = None

    def by_percentiles(self, low: float = PERCENTILES[0], high: float = PERCENTILES[1]) -> Scaling:
        """The scaling between two percentiles of each band's valid samples."""
        if not 0 <= low < high <= 100:
            raise ImageError(f"percentiles {low:g} and {high:g}: give two of 0 to 100, the lower one first")
        if not self.valid.any():
            raise ImageError(f"{self.name}: no sample of it is valid, all are outside the scene; choose another file")
        limits = np.percentile(self.samples[self.valid].astype(np.float64), [low, high], axis=0)
        flat = limits[1] <= limits[0]  # a band of one value: any range that holds it
        high_limits = np.where(flat, limits[0] + 1, limits[1])
        return Scaling(tuple(limits[0].tolist()), tuple(high_limits.tolist()), self.samples.dtype.name)

    def by_range(self, low: float, high: float) -> Scaling:
        """The same range for all bands."""
        count = self.samples.shape[2]
        return Scaling((low,) * count, (high,) * count, self.samples.dtype.name)

    def grey(self, scaling: Scaling | None = None) -> NDArray[np.uint8]:
        """Grey levels (H, W, bands); uint8 samples are taken as they are unless a scaling is given."""
        if scaling is None and self.samples.dtype == np.uint8:
            return np.ascontiguousarray(self.samples)
        return (scaling or self.by_percentiles()).to_grey(self.samples, self.valid)


def _rasterio(name: str) -> Any:
    try:
        import rasterio
    except ImportError as error:
        raise ImageError(f"{name}: GeoTIFF needs rasterio ({error}); pip install rasterio") from error
    return rasterio


def read(source: str | Path | bytes, name: str | None = None, bands: Sequence[int] | None = None) -> Raster:
    """Read a GeoTIFF (its path, or its bytes): the bands of these numbers, from 1 on; None reads all but an alpha band.

    Not valid are pixels that the file marks so (nodata, mask) in any of these bands or that are not finite; in a file that marks
    none, also those whose bands are all 0, as outside a scene (not where it was scaled or its samples are signed integers: there 0
    is a value as others). ImageError when it cannot be read.
    """
    label = name or str(source)
    rasterio = _rasterio(label)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            if isinstance(source, bytes):
                with rasterio.MemoryFile(source) as memory, memory.open() as file:
                    return _raster(file, rasterio, label, bands)
            with rasterio.open(source) as file:
                return _raster(file, rasterio, label, bands)
    except rasterio.errors.RasterioError as error:
        raise ImageError(f"{label}: not a GeoTIFF that can be read ({error}); check the path, or convert it") from error


def _raster(file: Any, rasterio: Any, name: str, bands: Sequence[int] | None) -> Raster:
    alpha = rasterio.enums.ColorInterp.alpha
    if bands is None:
        bands = [i for i, kind in zip(file.indexes, file.colorinterp, strict=True) if kind != alpha]
    if not bands or not all(1 <= b <= file.count for b in bands):
        raise ImageError(f"{name}: bands {' '.join(map(str, bands))} are not there; it has bands 1 to {file.count}")
    bands = list(bands)
    samples = np.moveaxis(file.read(bands), 0, 2)
    if samples.dtype.kind not in "uif":
        raise ImageError(
            f"{name}: samples of type {samples.dtype} are no grey levels; convert them to integers or floats"
        )
    scaled = _scaled(file.tags(), bands)
    valid = (file.read_masks(bands) > 0).all(0) & np.isfinite(samples).all(2)
    marked = any(rasterio.enums.MaskFlags.all_valid not in file.mask_flag_enums[b - 1] for b in bands)
    if scaled is None and not marked and samples.dtype.kind != "i":
        valid &= (samples != 0).any(2)
    place = {"crs": file.crs, "transform": file.transform}
    if file.gcps[0]:
        place = {"gcps": file.gcps[0], "crs": file.gcps[1]}
    if file.rpcs is not None:
        place["rpcs"] = file.rpcs
    return Raster(name, samples, valid, place, scaled, file.nodata)


def _scaled(tags: dict[str, str], bands: Sequence[int]) -> Scaling | None:
    try:
        low, high = ([float(v) for v in tags[key].split()] for key in (_LOW, _HIGH))
        kind = np.dtype(tags.get(_TYPE, "float32"))  # files that do not tell it: nothing is lost so
        if kind.kind not in "uif":
            return None
        return Scaling(tuple(low[b - 1] for b in bands), tuple(high[b - 1] for b in bands), kind.name)
    except (KeyError, TypeError, ValueError, IndexError):  # not there, or not ours
        return None


def write(
    path: str | Path,
    samples: Samples,
    place: dict[str, Any],
    scaling: Scaling | None = None,
    valid: NDArray[np.bool_] | None = None,
    nodata: float | None = None,
) -> None:
    """Write (H, W, bands) as a compressed GeoTIFF, whole or not at all; ``scaling`` goes into its tags.

    What is not ``valid`` (H, W) is marked so: by ``nodata`` where that is given, otherwise by a mask.
    """
    path = Path(path)
    rasterio = _rasterio(str(path))
    height, width, bands = samples.shape
    temporary = path.with_name(path.name + ".tmp")
    shape = {"height": height, "width": width, "count": bands, "dtype": samples.dtype.name}
    if valid is not None and nodata is not None:
        samples = np.where(valid[:, :, None], samples, np.array(nodata, samples.dtype))
        shape["nodata"] = nodata
    shape["photometric"] = "RGB" if bands == 3 else "MINISBLACK"  # GDAL takes a fourth band for alpha otherwise
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with (
                rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
                rasterio.open(temporary, "w", driver="GTiff", compress="deflate", **shape, **place) as file,
            ):
                file.write(np.moveaxis(samples, 2, 0))
                if valid is not None and nodata is None and not valid.all():
                    file.write_mask(valid)
                if scaling is not None:
                    file.update_tags(**scaling.tags())
        temporary.replace(path)
    except (OSError, rasterio.errors.RasterioError) as error:
        raise ImageError(f"{path}: cannot be written ({error}); choose another file") from error


def scale(
    source: str | Path,
    out: str | Path,
    bands: Sequence[int] | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    limits: tuple[float, float] | None = None,
) -> Scaling:
    """Write an 8-bit copy of a GeoTIFF in its place on the map, for a codec to take; returns the scaling, which its tags tell."""
    raster = read(source, bands=bands)
    scaling = raster.by_range(*limits) if limits is not None else raster.by_percentiles(*percentiles)
    write(out, raster.grey(scaling), raster.place, scaling, raster.valid)
    return scaling


def georeference(received: str | Path, original: str | Path, out: str | Path, restore: bool = False) -> None:
    """Write a received image as a GeoTIFF in the place of its original.

    ``restore`` gives the original's sample type and units back, by the scaling that sending it used: that of its tags, or the
    percentiles; otherwise the grey levels stay. What the original marks as outside the scene stays marked. ImageError when the
    sizes differ.
    """
    raster = read(original)
    image = _received(Path(received))
    if image.shape[:2] != raster.samples.shape[:2]:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (image.shape, raster.samples.shape)]
        raise ImageError(f"{received} is {sizes[0]}, {original} {sizes[1]}; give the original that was sent")
    scaling = raster.scaled
    samples: Samples = image
    if raster.samples.dtype != np.uint8 and image.shape[2] == raster.samples.shape[2]:
        scaling = raster.by_percentiles()
    if restore:
        if scaling is None or len(scaling.low) != image.shape[2]:
            raise ImageError(
                f"{received} has {image.shape[2]} bands, {original} {raster.samples.shape[2]} of {raster.samples.dtype}: there "
                "is no scaling between them to undo; leave out restore"
            )
        samples = scaling.to_samples(image)
        scaling = None
    nodata = raster.nodata if samples.dtype == raster.samples.dtype and restore else None
    write(out, samples, raster.place, scaling, raster.valid, nodata)


def _received(path: Path) -> NDArray[np.uint8]:
    """A received picture: PNG, or .npy where it has other than one or three bands."""
    try:
        if path.suffix == ".npy":
            image = np.load(path, allow_pickle=False)
            if image.ndim != 3 or image.dtype != np.uint8:
                raise ImageError(f"{path}: {image.dtype} {image.shape} is no received image of uint8 (H, W, bands)")
            return image
        with Image.open(path) as picture:
            image = np.asarray(picture.convert("L" if picture.mode == "L" else "RGB"), np.uint8)
            return image.reshape(*image.shape[:2], -1)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise ImageError(f"{path}: no received image that can be read ({error}); check the path") from error
