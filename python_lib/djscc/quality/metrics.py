# SPDX-License-Identifier: GPL-3.0-or-later
"""Full-reference metrics of batches of 8-bit images.

- ``mse``: mean squared error of the samples in [0, 1].
- ``psnr_db``: -10 log10(mse); identical images count as 99 dB, so that means stay finite.
- ``ssim``: Wang et al. 2004: 11 x 11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, mean over bands and windows.
- ``ms_ssim``: Wang et al. 2003 with as many of the five scales as fit: three for a tile of 64 x 64.
- ``lpips``: Zhang et al. 2018, version 0.1 with AlexNet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from djscc.errors import DjsccError
from djscc.quality import METRICS
from djscc.quality.lpips import MINIMUM_SIDE, lpips
from djscc.quality.ssim import WINDOW, ms_ssim, ssim

PSNR_CEILING_DB = 99.0


class QualityError(DjsccError):
    """Images that cannot be measured, or a metric that is not known."""


def mse(received: Tensor, original: Tensor) -> Tensor:
    """Mean squared error per image of (B, C, H, W) in [0, 1]."""
    return (received.double() - original.double()).square().mean((1, 2, 3))


def psnr_db(received: Tensor, original: Tensor) -> Tensor:
    """PSNR per image of (B, C, H, W) in [0, 1], in dB."""
    return (-10 * mse(received, original).log10()).clamp_max(PSNR_CEILING_DB)


_FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": mse,
    "psnr_db": psnr_db,
    "ssim": ssim,
    "ms_ssim": ms_ssim,
    "lpips": lpips,
}
assert tuple(_FUNCTIONS) == METRICS


@torch.inference_mode()
def measure(
    original: NDArray[np.uint8], received: NDArray[np.uint8], metrics: Iterable[str] = METRICS, batch: int = 64
) -> dict[str, NDArray[np.float64]]:
    """Metrics of (N, H, W, 3) uint8 images against their originals: name to (N,) values.

    Raises QualityError for unequal shapes, images too small for a metric (11 pixels for SSIM, 32 for LPIPS), or an unknown
    metric.
    """
    metrics = tuple(metrics)
    if unknown := set(metrics) - set(METRICS):
        raise QualityError(f"metric {', '.join(sorted(unknown))} is unknown; known are {', '.join(METRICS)}")
    if original.shape != received.shape:
        raise QualityError(f"images of shape {received.shape} cannot be measured against originals of {original.shape}")
    height, width = original.shape[1:3]
    for needed, side in (({"ssim", "ms_ssim"}, WINDOW), ({"lpips"}, MINIMUM_SIDE)):
        if needed & set(metrics) and min(height, width) < side:
            raise QualityError(
                f"images of {height} x {width} are too small for {', '.join(sorted(needed & set(metrics)))}, which takes "
                f"{side} x {side} or more; leave it out of the metrics, or send larger tiles"
            )
    out: dict[str, list[Tensor]] = {m: [] for m in metrics}
    for start in range(0, len(original), batch):
        x, y = (
            torch.from_numpy(np.ascontiguousarray(a[start : start + batch])).permute(0, 3, 1, 2).float() / 255
            for a in (original, received)
        )
        for m in metrics:
            out[m].append(_FUNCTIONS[m](y, x).double())
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
