# SPDX-License-Identifier: GPL-3.0-or-later
"""SSIM and MS-SSIM (Wang et al. 2004 and 2003), over the windows that lie within the image, as the authors define them.

Written out here because torchmetrics mixes mirrored borders into the mean and pytorch-msssim refuses images below 161
pixels; the tests hold both functions to scikit-image and to pytorch-msssim.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _blur(image: Tensor) -> Tensor:
    kernel = torch.exp(-0.5 * ((torch.arange(WINDOW, dtype=image.dtype) - WINDOW // 2) / SIGMA) ** 2)
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, 1, WINDOW)
    image = F.conv2d(image, kernel, groups=image.shape[1])
    return F.conv2d(image, kernel.transpose(2, 3), groups=image.shape[1])


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure part, per image and band: (B, C) each."""
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    contrast = (2 * covariance + C2) / (variance_x + variance_y + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return (luminance * contrast).mean((2, 3)), contrast.mean((2, 3))


def ssim(received: Tensor, original: Tensor) -> Tensor:
    """SSIM per image of (B, C, H, W) in [0, 1], the mean over bands; at least 11 x 11 pixels."""
    return _similarity(received.double(), original.double())[0].mean(1)


def scales(height: int, width: int) -> int:
    """How many of the five scales of MS-SSIM fit: the window must fit into the image after each halving."""
    count = 1
    while count < len(MS_SSIM_WEIGHTS) and min(height, width) >> count >= WINDOW:
        count += 1
    return count


def ms_ssim(received: Tensor, original: Tensor) -> Tensor:
    """MS-SSIM per image of (B, C, H, W) in [0, 1], with the first :func:`scales` weights, normalised to sum 1.

    From 176 pixels on these are all five, the published metric; a tile of 64 x 64 has three (64, 32 and 16 pixels). Negative
    similarities count as 0.
    """
    x, y = received.double(), original.double()
    count = scales(x.shape[2], x.shape[3])
    weights = torch.tensor(MS_SSIM_WEIGHTS[:count], dtype=x.dtype)
    weights = weights / weights.sum()
    value = torch.ones(x.shape[:2], dtype=x.dtype)
    for i in range(count):
        whole, contrast = _similarity(x, y)
        value = value * (whole if i == count - 1 else contrast).clamp_min(0) ** weights[i]
        if i < count - 1:
            odd = [s % 2 for s in x.shape[2:]]
            x, y = (F.avg_pool2d(a, 2, padding=odd) for a in (x, y))
    return value.mean(1)
