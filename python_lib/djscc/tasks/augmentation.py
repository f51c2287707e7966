# SPDX-License-Identifier: GPL-3.0-or-later
"""What a classifier's training images go through: the symmetries of the square, and mild changes of colour, scale and place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from djscc.codec.training import augment
from djscc.tasks.training_config import TaskTrainingConfig


def _uniform(count: int, bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    return (bounds[0] + (bounds[1] - bounds[0]) * torch.rand(count, generator=generator)).view(-1, 1, 1, 1)


def change_symmetry_and_colours(image: Tensor, config: TaskTrainingConfig, generator: torch.Generator) -> Tensor:
    """One of the eight symmetries; brightness, contrast about the image's mean, and saturation about its grey by random factors.

    This comes before an image is sent: another scene, not another channel.
    """
    if config.symmetries:
        image = augment(image, generator)
    count = len(image)
    image = image * _uniform(count, config.brightness, generator)
    mean = image.mean((1, 2, 3), keepdim=True)
    image = mean + (image - mean) * _uniform(count, config.contrast, generator)
    grey = image.mean(1, keepdim=True)
    return (grey + (image - grey) * _uniform(count, config.saturation, generator)).clamp(0, 1)


def change_scale(image: Tensor, size: int, config: TaskTrainingConfig, generator: torch.Generator) -> Tensor:
    """Zoom and shift each image, and resample it to ``size`` pixels a side in the same step; borders are mirrored."""
    count = len(image)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1 / _uniform(count, config.zoom, generator).flatten()
    matrix[:, :, 2] = 2 * config.shift * (2 * torch.rand(count, 2, generator=generator) - 1)
    grid = F.affine_grid(matrix, [count, 3, size, size], align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
