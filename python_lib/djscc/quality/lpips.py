# SPDX-License-Identifier: GPL-3.0-or-later
"""LPIPS v0.1 with AlexNet (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018).

The network is AlexNet's feature stack, written out here because torchvision need not be installed; the weights are those of
the authors' ``lpips`` package (BSD-2), in ``data/lpips``.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from djscc import DATA

# (index in AlexNet's features, stride, padding, max-pool before)
_STAGES = ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False), (10, 1, 1, False))
MINIMUM_SIDE = 32
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


@cache
def _weights() -> dict[str, Tensor]:
    return load_file(DATA / "lpips" / "lpips_alex_v0.1.safetensors")


def _features(image: Tensor) -> list[Tensor]:
    weights = _weights()
    shift, scale = torch.tensor(_SHIFT).view(1, 3, 1, 1), torch.tensor(_SCALE).view(1, 3, 1, 1)
    x = (2 * image - 1 - shift) / scale
    out = []
    for index, stride, padding, pooled in _STAGES:
        if pooled:
            x = F.max_pool2d(x, 3, 2)
        x = F.relu(F.conv2d(x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], stride, padding))
        out.append(x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-20))
    return out


def lpips(received: Tensor, original: Tensor) -> Tensor:
    """LPIPS distance per image of (B, 3, H, W) in [0, 1]; 0 for equal images. At least 32 x 32 pixels."""
    weights = _weights()
    total = torch.zeros(len(received))
    for i, (a, b) in enumerate(zip(_features(received), _features(original), strict=True)):
        total = total + F.conv2d((a - b).square(), weights[f"lin{i}.model.1.weight"]).mean((1, 2, 3))
    return total
