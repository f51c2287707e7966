# SPDX-License-Identifier: GPL-3.0-or-later
"""SSIM and MS-SSIM (Wang et al. 2004 and 2003), over the windows that lie within the image, as the authors define them.

Written out here because torchmetrics mixes mirrored borders into the mean and pytorch-msssim refuses images below 161
pixels; the tests hold both functions to scikit-image and to pytorch-msssim.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALL = 256  # pixels a side up to which a window is a product with a band matrix: ten times as fast as a convolution for tiles


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # kept for calls that take gradients, too
def _kernel(dtype: torch.dtype, device: torch.device) -> Tensor:
    kernel = torch.exp(-0.5 * ((torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2) / SIGMA) ** 2)
    return (kernel / kernel.sum()).to(device, dtype)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _band(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(side - 10, side): its product with a column is that column seen through the window."""
    band = torch.zeros(side - WINDOW + 1, side, dtype=dtype, device=device)
    for row, line in enumerate(band):
        line[row : row + WINDOW] = _kernel(dtype, device)
    return band


def _blur(image: Tensor) -> Tensor:
    height, width = image.shape[2:]
    kind = image.dtype, image.device
    if max(height, width) <= SMALL:
        return _band(height, *kind) @ (image @ _band(width, *kind).T)
    kernel = _kernel(*kind).expand(image.shape[1], 1, 1, WINDOW)
    image = F.conv2d(image, kernel, groups=image.shape[1])
    return F.conv2d(image, kernel.transpose(2, 3), groups=image.shape[1])


@dataclass(frozen=True)
class Scale:
    """An image (B, C, H, W) at one scale, less 0.5 so that float32 keeps the variances exact, and what its windows hold."""

    image: Tensor

    @cached_property
    def mean(self) -> Tensor:
        return _blur(self.image)

    @cached_property
    def variance(self) -> Tensor:
        return _blur(self.image * self.image) - self.mean**2


def scales(height: int, width: int) -> int:
    """How many of the five scales of MS-SSIM fit: the window must fit into the image after each halving."""
    count = 1
    while count < len(MS_SSIM_WEIGHTS) and min(height, width) >> count >= WINDOW:
        count += 1
    return count


class Pyramid:
    """An image (B, C, H, W) in [0, 1] at all scales that fit; what is computed of it is kept."""

    def __init__(self, image: Tensor) -> None:
        self.scales = [Scale(image - 0.5)]
        self.count = scales(image.shape[2], image.shape[3])

    def __getitem__(self, index: int) -> Scale:
        while len(self.scales) <= index:
            image = self.scales[-1].image + 0.5
            half = F.avg_pool2d(image, 2, padding=[s % 2 for s in image.shape[2:]])
            self.scales.append(Scale(half - 0.5))
        return self.scales[index]


def _similarity(a: Scale, b: Scale) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure part, per image and band: (B, C) each."""
    covariance = _blur(a.image * b.image) - a.mean * b.mean
    contrast = (2 * covariance + C2) / (a.variance + b.variance + C2)
    mean_a, mean_b = a.mean + 0.5, b.mean + 0.5
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return (luminance * contrast).mean((2, 3)), contrast.mean((2, 3))


def similarities(received: Pyramid, original: Pyramid, multiscale: bool = True) -> tuple[Tensor, Tensor | None]:
    """SSIM and MS-SSIM (None unless ``multiscale``) per image; the scale that they share is computed once."""
    whole, contrast = _similarity(received[0], original[0])
    ssim = whole.mean(1)
    if not multiscale:
        return ssim, None
    count = original.count
    weights = torch.tensor(MS_SSIM_WEIGHTS[:count], dtype=whole.dtype, device=whole.device)
    weights = weights / weights.sum()
    value = torch.ones_like(whole)
    for i in range(count):
        if i > 0:
            whole, contrast = _similarity(received[i], original[i])
        part = whole if i == count - 1 else contrast
        positive = part > 0  # negative similarities count as 0, with a gradient of 0
        value = value * torch.where(positive, torch.where(positive, part, 1) ** weights[i], 0)
    return ssim, value.mean(1)


def ssim(received: Tensor, original: Tensor) -> Tensor:
    """SSIM per image of (B, C, H, W) in [0, 1], the mean over bands; at least 11 x 11 pixels."""
    return similarities(Pyramid(received), Pyramid(original), multiscale=False)[0]


def ms_ssim(received: Tensor, original: Tensor) -> Tensor:
    """MS-SSIM per image of (B, C, H, W) in [0, 1], with the first :func:`scales` weights, normalised to sum 1.

    From 176 pixels on these are all five, the published metric; a tile of 64 x 64 has three (64, 32 and 16 pixels). Negative
    similarities count as 0.
    """
    value = similarities(Pyramid(received), Pyramid(original))[1]
    assert value is not None
    return value
