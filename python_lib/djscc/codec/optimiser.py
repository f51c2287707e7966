# SPDX-License-Identifier: GPL-3.0-or-later
"""What trainings share: Muon, the learning rate over the steps, and the step itself.

Muon: momentum whose update is orthogonalised (Jordan et al. 2024), for the convolutions of the codec.

``torch.optim.Muon`` takes matrices only; here a convolution counts as the matrix (out, in * kh * kw).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


def orthogonalise(update: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix to (rows, columns), approximately, by the quintic Newton-Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = update.bfloat16()
    transposed = x.shape[0] > x.shape[1]
    if transposed:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if transposed else x).to(update.dtype)


class Muon(torch.optim.Optimizer):
    """Args: ``lr``, the root-mean-square size of a step relative to 0.2 as in Moonlight (Liu et al. 2025), so that learning
    rates mean what they mean for AdamW; ``momentum`` (Nesterov); ``weight_decay``, decoupled."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(state["momentum"], group["momentum"])
                matrix = orthogonalise(update.reshape(len(p), -1))
                scale = 0.2 * max(matrix.shape) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(matrix.view_as(p), alpha=-group["lr"] * scale)


class Schedule(Protocol):
    """The settings of a training's learning rate."""

    steps: int
    lr: float
    warmup: int
    decay_share: float


def learning_rate(step: int, config: Schedule) -> float:
    """Trapezoid: a linear warm-up, a constant stretch, a linear decay to zero over the last ``decay_share`` of the steps."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    fall = min(1.0, (config.steps - step) / max(1.0, config.decay_share * config.steps))
    return config.lr * min(rise, fall)


def take_step(model: nn.Module, optims: Sequence[torch.optim.Optimizer], rate: float, gradient_clip: float) -> None:
    """Clip the gradients and let every optimiser step at this learning rate; gradients that are not finite are passed over."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), gradient_clip)
    if torch.isfinite(norm):
        for optim in optims:
            for group in optim.param_groups:
                group["lr"] = rate
            optim.step()
