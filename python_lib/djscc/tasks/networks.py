# SPDX-License-Identifier: GPL-3.0-or-later
"""The classifiers: any network of timm, or the small ResNet of this file, behind one resize and normalisation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from djscc.tasks.results import TaskError

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as timm's weights expect


class _Depthwise(nn.Conv2d):
    """A depthwise convolution that stays in float32 under autocast: its bfloat16 gradient takes 20 times as long on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float()).to(input.dtype)


def _depthwise_in_float32(network: nn.Module) -> None:
    for module in network.modules():
        if type(module) is nn.Conv2d and module.groups > 1:
            module.__class__ = _Depthwise


class ResNet8(nn.Module):
    """A residual network of eight layers after He et al. 2016 (section 4.2, n = 1): a 3x3 convolution, three residual blocks of
    ``width``, 2 ``width`` and 4 ``width`` channels with strides 1, 2, 2, and a linear layer over the mean of the map."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.stem = _convolution(3, width, 3, 2)
        self.blocks = nn.Sequential(
            _Residual(width, width, 1), _Residual(width, 2 * width, 2), _Residual(2 * width, 4 * width, 2)
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.blocks(F.relu(self.stem(image)))
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3, 1)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else _convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.skip(x))


# options of timm, or beginnings of them, that fetch or unpickle weights
REFUSED = ("checkpoint_path", "cache_dir", "pretrained")


class Classifier(nn.Module):
    """Images (B, 3, H, W) in 0..1 to logits (B, classes).

    Args:
        family: ``resnet8``, or the name of a network of timm, e.g. ``efficientvit_m2``.
        classes: number of classes.
        size: images are resized to this many pixels a side before the network sees them; 0 leaves them.
        options: further arguments of the network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, family: str, classes: int, size: int = 0, **options: Any) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)
        if family == "resnet8":
            self.network: nn.Module = ResNet8(classes, **options)
        else:
            self.network = _timm_network(family, classes, options)
        _depthwise_in_float32(self.network)

    def forward(self, image: Tensor) -> Tensor:
        if self.size and image.shape[2:] != (self.size, self.size):
            image = F.interpolate(
                image,
                (self.size, self.size),
                mode="bilinear",
                align_corners=False,
                antialias=image.shape[2] > self.size,
            )
        image = (image - self.mean) / self.deviation
        logits: Tensor = self.network(image.contiguous(memory_format=torch.channels_last))
        return logits


def _timm_network(family: str, classes: int, options: dict[str, Any]) -> nn.Module:
    from djscc.tasks import torchvision_operators  # noqa: F401  (first: timm imports torchvision)

    try:
        import timm
    except ImportError as error:
        raise TaskError(f"network {family!r} needs timm ({error}); pip install 'djscc[tasks]'") from error
    if not timm.is_model(family):
        raise TaskError(
            f"network {family!r}: neither resnet8 nor a network of timm {timm.__version__}; see timm.list_models()"
        )
    if refused := sorted(name for name in options if name.startswith(REFUSED)):
        raise TaskError(
            f"network {family!r}: {', '.join(refused)} would load weights from elsewhere, unchecked; leave it out"
        )
    network: nn.Module = timm.create_model(family, pretrained=False, num_classes=classes, **options)
    return network
