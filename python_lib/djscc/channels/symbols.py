# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels on batches of symbols, differentiable (torch): what is left of a channel after an ideal receiver.

Symbols are (B, N, 2), real and imaginary part, mean power 1. Es/N0 is per complex symbol: noise variance 10^(-snr/10),
half of it on each part. (The reference paper's code calls 0 dB what is +3.01 dB here.)
"""

from __future__ import annotations

import torch
from torch import Tensor


def noise_variance(snr_db: Tensor) -> Tensor:
    """Variance of the complex noise per symbol of mean power 1 at an Es/N0 in dB."""
    return 10 ** (-snr_db / 10)


def awgn(symbols: Tensor, variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Add circular complex Gaussian noise of ``variance`` (broadcast against (B, N))."""
    noise = torch.randn(symbols.shape, generator=generator, device=symbols.device)
    return symbols + noise * (variance / 2).sqrt()[..., None]


def rician_gain(shape: tuple[int, ...], k_factor: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Power |h|^2 of a Rician fade of mean power 1 with linear K (broadcast against ``shape``); K = 0 is Rayleigh."""
    scatter = (
        torch.randn((*shape, 2), generator=generator, device=k_factor.device) * (0.5 / (1 + k_factor)).sqrt()[..., None]
    )
    line_of_sight = (k_factor / (1 + k_factor)).sqrt()
    return (scatter[..., 0] + line_of_sight).square() + scatter[..., 1].square()


def rotate(symbols: Tensor, phase: Tensor) -> Tensor:
    """Rotate (B, N, 2) by ``phase`` in radians (broadcast against (B, N))."""
    cos, sin = phase.cos(), phase.sin()
    re, im = symbols[..., 0], symbols[..., 1]
    return torch.stack([re * cos - im * sin, re * sin + im * cos], -1)
