# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training step draws for each image (ratio, SNR, losses), and the symbol-level channel that it sends over.

The impairments beside noise are those that a real receiver leaves: noise that differs from symbol to symbol after fading was
equalised, a residual phase, lost symbols, a lost tail, a noise variance that is only estimated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from djscc.channels import ChannelDescription, SymbolChannel
from djscc.channels import symbols as channel
from djscc.codec.training_config import TrainingConfig


@dataclass
class Draw:
    """What one step draws: for B images, the plan and the channel of each."""

    sent: Tensor  # (B,) layers that are sent
    received: Tensor  # (B,) layers that arrive, at most those sent
    snr_db: Tensor  # (B,) Es/N0
    told_db: Tensor  # (B,) what the encoder was told
    told: Tensor  # (B,) 1 where it was told

    @staticmethod
    def fixed(count: int, layers: int, snr_db: float) -> Draw:
        sent = torch.full((count,), layers)
        snr = torch.full((count,), float(snr_db))
        return Draw(sent, sent, snr, snr, torch.ones(count))


def draw(config: TrainingConfig, generator: torch.Generator) -> Draw:
    """Draw a plan for each image of a batch. Layers and Es/N0 are stratified over the batch, each on its own: every step sees
    their whole range, which makes its gradient steadier than independent draws would."""

    def uniform() -> Tensor:
        return torch.rand(config.batch, generator=generator)

    def stratified() -> Tensor:
        return (torch.randperm(config.batch, generator=generator) + uniform()) / config.batch

    low, high = config.layers_sent
    sent = (low * ((high + 1) / low) ** stratified()).floor().clamp(low, high).long()
    cut = (sent * uniform()).floor().clamp_min(1).long()
    received = torch.where(uniform() < config.truncation_rate, cut, sent)
    snr_db = config.snr_db[0] + (config.snr_db[1] - config.snr_db[0]) * stratified()
    told = (uniform() < config.told_rate).float()
    error = config.told_error_db * torch.randn(config.batch, generator=generator)
    return Draw(sent, received, snr_db, snr_db + error, told)


def transmit(
    symbols: Tensor,
    plan: Draw,
    config: TrainingConfig | None,
    generator: torch.Generator,
    described: ChannelDescription | None = None,
) -> tuple[Tensor, Tensor]:
    """Send (B, layers, h, w, 2) over the symbol-level channel; returns what arrives and its reliability.

    With ``config`` None the channel is AWGN alone, the receiver knowing the noise variance. ``described`` is a channel of
    ``djscc.channels`` to send over in place of noise and the built-in fading.
    """
    b, layers, h, w, _ = symbols.shape
    device = symbols.device
    variance = channel.noise_variance(plan.snr_db.to(device))[:, None].expand(b, layers * h * w)
    known = (torch.arange(layers, device=device)[None] < plan.received.to(device)[:, None]).float()
    known = known[:, :, None].expand(b, layers, h * w).reshape(b, -1)
    flat = symbols.reshape(b, -1, 2)
    if config is not None:

        def uniform() -> Tensor:
            return torch.rand((b, 1), generator=generator).to(device)

        def chosen(rate: float) -> Tensor:
            return (uniform() < rate).float()

        if described is None:
            # what an ideal equaliser leaves of a fade after de-interleaving: noise that differs from symbol to symbol
            k_factor = 10 ** (0.3 + 1.7 * uniform()).expand(b, layers * h * w)
            gain = channel.rician_gain((b, layers * h * w), k_factor, generator=None).clamp_min(1e-2)
            fading = chosen(config.fading_rate)
            variance = variance / (1 + fading * (gain - 1))
        lost = (torch.rand((b, layers * h * w), generator=generator).to(device) < 0.5 * uniform()).float()
        known = known * (1 - chosen(config.erasure_rate) * lost)
        phase = torch.randn((b, 1), generator=generator).to(device) * 0.12 * chosen(config.phase_rate)
        flat = channel.rotate(flat, phase)
    if described is None:
        received = channel.awgn(flat, variance)
    else:
        seed = int(torch.randint(1 << 62, (), generator=generator))
        received, variance = SymbolChannel(described, seed)(flat, plan.snr_db.to(device))
    if config is not None and config.estimate_error_db > 0:
        error = torch.randn((b, 1), generator=generator).to(device) * config.estimate_error_db
        variance = variance * 10 ** (error / 10)
    reliability = known / (1 + variance)
    shape = (b, layers, h, w)
    return (received * known[..., None]).view(*shape, 2), reliability.view(shape)
