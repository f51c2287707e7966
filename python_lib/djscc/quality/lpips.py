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
@torch.inference_mode(False)  # kept for calls that take gradients, too
def _weights(device: torch.device) -> dict[str, Tensor]:
    weights = load_file(DATA / "lpips" / "lpips_alex_v0.1.safetensors", str(device))
    return {name: w.contiguous(memory_format=torch.channels_last) if w.dim() == 4 else w for name, w in weights.items()}


def features(image: Tensor) -> list[Tensor]:
    """Features of (B, 3, H, W) in [0, 1] after each stage, of unit length at each place; at least 32 x 32 pixels.

    In float32: bfloat16 would be nearly twice as fast and 0.003 off the published values.
    """
    weights = _weights(image.device)
    shift, scale = (torch.tensor(values, device=image.device).view(1, 3, 1, 1) for values in (_SHIFT, _SCALE))
    x = ((2 * image - 1 - shift) / scale).contiguous(memory_format=torch.channels_last)
    out = []
    for index, stride, padding, pooled in _STAGES:
        if pooled:
            x = F.max_pool2d(x, 3, 2)
        x = F.relu(F.conv2d(x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], stride, padding))
        out.append(x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-20))
    return out


def distance(received: list[Tensor], original: list[Tensor]) -> Tensor:
    """LPIPS distance per image, from the features of both."""
    device = received[0].device
    weights = _weights(device)
    total = torch.zeros(len(received[0]), device=device)
    for i, (a, b) in enumerate(zip(received, original, strict=True)):
        total = total + (a - b).square().mean((2, 3)) @ weights[f"lin{i}.model.1.weight"].flatten()
    return total


def lpips(received: Tensor, original: Tensor) -> Tensor:
    """LPIPS distance per image of (B, 3, H, W) in [0, 1]; 0 for equal images. At least 32 x 32 pixels."""
    return distance(features(received), features(original))
