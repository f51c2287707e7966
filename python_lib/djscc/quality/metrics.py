# SPDX-License-Identifier: GPL-3.0-or-later
"""Full-reference metrics of batches of 8-bit images.

- ``mse``: mean squared error of the samples in [0, 1].
- ``psnr_db``: -10 log10(mse); identical images count as 99 dB, so that means stay finite.
- ``ssim``: Wang et al. 2004: 11 x 11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, mean over bands and windows.
- ``ms_ssim``: Wang et al. 2003 with as many of the five scales as fit, their weights normalised: three (64, 32, 16 pixels) for a
  tile of 64 x 64, all five from 176 pixels on.
- ``lpips``: Zhang et al. 2018, version 0.1 with AlexNet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from djscc.errors import DjsccError
from djscc.quality import METRICS
from djscc.quality.lpips import MINIMUM_SIDE, distance, features
from djscc.quality.ssim import WINDOW, Pyramid, similarities
from djscc.timing import in_network

PSNR_CEILING_DB = 99.0


class QualityError(DjsccError):
    """Images that cannot be measured, or a metric that is not known."""


def mse(received: Tensor, original: Tensor) -> Tensor:
    """Mean squared error per image of (B, C, H, W) in [0, 1]."""
    return (received - original).square().double().mean((1, 2, 3))


class Originals:
    """Original images (N, H, W, 3) uint8, with all that the metrics compute of them alone, computed once when first needed."""

    def __init__(self, images: NDArray[np.uint8], batch: int = 64) -> None:
        self.images, self.batch = images, batch
        self.parts = [_Original(_tensor(images[start : start + batch])) for start in range(0, len(images), batch)]


class _Original:
    def __init__(self, image: Tensor) -> None:
        self.image = image

    @cached_property
    def pyramid(self) -> Pyramid:
        return Pyramid(self.image)

    @cached_property
    def features(self) -> list[Tensor]:
        with in_network():
            return features(self.image)


def _tensor(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255


def _measure(received: Tensor, original: _Original, metrics: Collection[str]) -> dict[str, Tensor]:
    """Metrics of one batch (B, C, H, W) in [0, 1]."""
    values: dict[str, Tensor] = {}
    if {"mse", "psnr_db"} & set(metrics):
        values["mse"] = mse(received, original.image)
        values["psnr_db"] = (-10 * values["mse"].log10()).clamp_max(PSNR_CEILING_DB)
    if {"ssim", "ms_ssim"} & set(metrics):
        whole, several = similarities(Pyramid(received), original.pyramid, "ms_ssim" in metrics)
        values["ssim"] = whole
        if several is not None:
            values["ms_ssim"] = several
    if "lpips" in metrics:
        with in_network():
            of_received = features(received)
        values["lpips"] = distance(of_received, original.features)
    return values


@torch.inference_mode()
def measure(
    original: NDArray[np.uint8] | Originals,
    received: NDArray[np.uint8],
    metrics: Iterable[str] = METRICS,
    batch: int = 64,
) -> dict[str, NDArray[np.float64]]:
    """Metrics of (N, H, W, bands) uint8 images against their originals: name to (N,) values. LPIPS, which is of one and three
    bands, is left out for others; where all metrics are asked for, so are those that the images are too small for (11 pixels for
    SSIM, 32 for LPIPS).

    Raises QualityError for unequal shapes, images too small for a metric that was chosen, or an unknown metric. ``Originals`` that
    are kept save what is computed of them alone.
    """
    metrics = tuple(metrics)
    if unknown := set(metrics) - set(METRICS):
        raise QualityError(f"metric {', '.join(sorted(unknown))} is unknown; known are {', '.join(METRICS)}")
    originals = original if isinstance(original, Originals) else Originals(original, batch)
    if originals.images.shape != received.shape:
        raise QualityError(
            f"images of shape {received.shape} cannot be measured against originals of {originals.images.shape}"
        )
    height, width, bands = received.shape[1:]
    chosen = set(metrics) != set(METRICS)
    if bands not in (1, 3):
        metrics = tuple(m for m in metrics if m != "lpips")
    for needed, side in (({"ssim", "ms_ssim"}, WINDOW), ({"lpips"}, MINIMUM_SIDE)):
        if needed & set(metrics) and min(height, width) < side:
            if not chosen:
                metrics = tuple(m for m in metrics if m not in needed)
                continue
            raise QualityError(
                f"images of {height} x {width} are too small for {', '.join(sorted(needed & set(metrics)))}, which takes "
                f"{side} x {side} or more; leave it out of the metrics, or send larger tiles"
            )
    out: dict[str, list[Tensor]] = {m: [] for m in metrics}
    for number, part in enumerate(originals.parts):
        start = number * originals.batch
        values = _measure(_tensor(received[start : start + originals.batch]), part, metrics)
        for m in metrics:
            out[m].append(values[m].double())
    return {m: torch.cat(v).numpy() for m, v in out.items()}


def summarise(tiles: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Means over images of every metric that the tiles carry (a tile that lacks one is left out of that mean)."""
    rows = list(tiles)
    means = {}
    for m in METRICS:
        values = [row[m] for row in rows if row.get(m) is not None]
        if values:
            means[m] = float(np.mean(values))
    return means
