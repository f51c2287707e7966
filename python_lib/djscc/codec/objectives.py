# SPDX-License-Identifier: GPL-3.0-or-later
"""What training minimises: a weighted sum of distances between the tiles and what was decoded, chosen in the configuration.

- ``log_mse``: the logarithm of each tile's mean squared error, whose mean is that of the PSNRs (the default);
- ``mse``: the mean squared error, so that busy tiles count most;
- ``ms_ssim``: 1 - MS-SSIM; ``lpips``: LPIPS, of three bands and at least 32 x 32 pixels; both as ``djscc.quality`` measures them;
- ``task``: a weight for each task of ``djscc.tasks``: the divergence (Kullback-Leibler, in nats) of the task's answer to the
  decoded tile from its answer to the original. No labels are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from djscc.codec.training_config import ConfigError
from djscc.quality.lpips import MINIMUM_SIDE, lpips
from djscc.quality.ssim import WINDOW, ms_ssim

Distance = Callable[[Tensor, Tensor], Tensor]  # decoded, original (B, bands, H, W) to (B,)

KNOWN = ("log_mse", "mse", "ms_ssim", "lpips", "task")


def log_mse(decoded: Tensor, original: Tensor) -> Tensor:
    """Natural logarithm of each image's mean squared error, of samples in [0, 1]; 1e-6 is added, -60 dB."""
    return (mse(decoded, original) + 1e-6).log()


def mse(decoded: Tensor, original: Tensor) -> Tensor:
    """Mean squared error of each image."""
    return (original - decoded).square().mean((1, 2, 3))


def _one_less_ms_ssim(decoded: Tensor, original: Tensor) -> Tensor:
    return 1 - ms_ssim(decoded, original)


class TaskDivergence:
    """How far the answer of a classifier (images to logits) moves, as the Kullback-Leibler divergence for each image."""

    def __init__(self, classifier: nn.Module) -> None:
        self.classifier = classifier.eval().requires_grad_(False)

    def __call__(self, decoded: Tensor, original: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = F.log_softmax(self.classifier(original).float(), 1)
        got = F.log_softmax(self.classifier(decoded).float(), 1)
        return F.kl_div(got, wanted, reduction="none", log_target=True).sum(1)


class Objective:
    """The weighted sum, a scalar for decoded and original images (B, bands, H, W) in [0, 1].

    ConfigError when ``weights`` names something unknown, or what the images' shape does not allow.
    """

    def __init__(
        self, weights: Mapping[str, Any], shape: tuple[int, int, int], device: torch.device | None = None
    ) -> None:
        if unknown := sorted(set(weights) - set(KNOWN)):
            raise ConfigError(f"objective {', '.join(unknown)} is unknown; known are {', '.join(KNOWN)}")
        bands, height, width = shape
        functions: dict[str, Distance] = {"log_mse": log_mse, "mse": mse, "ms_ssim": _one_less_ms_ssim, "lpips": lpips}
        self.terms: list[tuple[float, Distance]] = []
        for name, weight in weights.items():
            if name == "task":
                self.terms += [
                    (_weight(f"task {t}", w), _task(t, bands, device)) for t, w in dict(weight or {}).items()
                ]
                continue
            least = {"ms_ssim": WINDOW, "lpips": MINIMUM_SIDE}.get(name, 1)
            if min(height, width) < least:
                raise ConfigError(
                    f"objective {name}: tiles of {height} x {width} are below {least} x {least}; leave it out"
                )
            if name == "lpips" and bands != 3:
                raise ConfigError(
                    f"objective lpips takes images of 3 bands, the configuration has {bands}; leave it out"
                )
            self.terms.append((_weight(name, weight), functions[name]))
        self.terms = [(weight, distance) for weight, distance in self.terms if weight]
        if not self.terms:
            raise ConfigError(
                f"objective {dict(weights)}: nothing to minimise; give one of {', '.join(KNOWN)} a weight"
            )

    def __call__(self, decoded: Tensor, original: Tensor) -> Tensor:
        total = torch.zeros((), device=original.device)
        for weight, distance in self.terms:
            total = total + weight * distance(decoded, original).mean()
        return total


def _weight(name: str, value: Any) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise ConfigError(f"objective {name}: weight {value!r} must be a number of at least 0")
    return weight


def _task(name: str, bands: int, device: torch.device | None) -> Distance:
    if bands != 3:
        raise ConfigError(
            f"objective task {name}: tasks take images of 3 bands, the configuration has {bands}; leave it out"
        )
    from djscc.tasks import load_task

    network = getattr(load_task(name, str(device or "cpu")), "network", None)
    if not isinstance(network, nn.Module):
        raise ConfigError(f"objective task {name}: not a classifier with a network to differentiate; leave it out")
    return TaskDivergence(network)
