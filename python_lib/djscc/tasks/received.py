# SPDX-License-Identifier: GPL-3.0-or-later
"""Images as they arrive, for training a task on them: through a codec and AWGN, each at a ratio and SNR of its own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from djscc.campaign.plan import PlanError, parse_ratio
from djscc.codec import load_codec
from djscc.codec.training import encode
from djscc.codec.training_channel import Draw, transmit
from djscc.codec.training_config import ConfigError

BATCH = 64


@dataclass(frozen=True)
class ReceivedConfig:
    """The section ``received`` of a task's training: which codec, and the ranges that each image's ratio (log-uniform) and Es/N0
    in dB (uniform) are drawn from. ``share`` of the images are sent, the others stay as they are; for ``told`` of those sent the
    encoder knows the Es/N0."""

    codec: str = "adaptive"
    decoder: str | None = None
    ratios: tuple[float, float] = (1 / 48, 1 / 4)
    snr_db: tuple[float, float] = (-10.0, 12.0)
    share: float = 0.85
    told: float = 0.0

    @staticmethod
    def of(section: dict[str, Any]) -> ReceivedConfig:
        """Check the section of a configuration; ConfigError for what is wrong in it."""
        known = {f.name for f in dataclasses.fields(ReceivedConfig)}
        if not isinstance(section, dict) or (unknown := sorted(set(section) - known)):
            what = (
                f"unknown setting {', '.join(unknown)}" if isinstance(section, dict) else f"{section!r} is no mapping"
            )
            raise ConfigError(f"received: {what}; known are {', '.join(sorted(known))}")
        try:
            values = section | {
                key: tuple(kind(v) for v in section[key])
                for key, kind in (("ratios", parse_ratio), ("snr_db", float))
                if key in section
            }
            config = ReceivedConfig(**values)
            for key in ("ratios", "snr_db"):
                low, high = getattr(config, key)
                if not low <= high:
                    raise ConfigError(f"received: {key} [{low:g}, {high:g}] must be lowest and highest")
            if not (0 <= float(config.share) <= 1 and 0 <= float(config.told) <= 1):
                raise ConfigError(f"received: share {config.share} and told {config.told} must be between 0 and 1")
        except (TypeError, ValueError, PlanError) as error:
            raise ConfigError(f"received: {error}") from error
        return config


class Transmission:
    """Sends images as :class:`ReceivedConfig` says. The fixed codec of one ratio sends at that one."""

    def __init__(self, config: ReceivedConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.codec = load_codec(config.codec, config.decoder, str(device))
        self.layers = tuple(self.codec.layers_for_ratio(ratio) for ratio in config.ratios)

    def _draw(self, count: int, generator: torch.Generator) -> Draw:
        low, high = self.layers
        sent = (low * ((high + 1) / low) ** torch.rand(count, generator=generator)).floor().clamp(low, high).long()
        least, most = self.config.snr_db
        snr_db = least + (most - least) * torch.rand(count, generator=generator)
        told = (torch.rand(count, generator=generator) < self.config.told).float()
        return Draw(sent, sent, snr_db, snr_db, told)

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 3, H, W) in 0..1 as received, rounded to 8 bits; some stay as they are. Noise comes from torch's own generator."""
        chosen = torch.nonzero(torch.rand(len(images), generator=generator) < self.config.share).flatten()
        plan = self._draw(len(images), generator)
        out = images.clone()
        for index in chosen.split(BATCH):
            part = Draw(*(getattr(plan, f.name)[index] for f in dataclasses.fields(Draw)))
            image = images[index].to(self.device).contiguous(memory_format=torch.channels_last)
            symbols = encode(self.codec.encoder, image, part, self.codec.bf16)
            received, reliability = transmit(symbols, part, None, generator)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.codec.bf16):
                decoded = self.codec.decoder(received, reliability)[:, :, : image.shape[2], : image.shape[3]]
            out[index] = ((decoded.float().clamp(0, 1) * 255).round() / 255).to(out.device, out.dtype)
        return out
