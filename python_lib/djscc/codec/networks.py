# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of the codec: images to complex channel symbols and back.

Two families share one interface, so that everything else treats them alike:

- ``AdaptiveEncoder`` / ``AdaptiveDecoder``: one set of weights for every ratio and Es/N0. Symbols come in *layers*, each
  one complex plane of (H/8) x (W/8); any prefix of layers decodes (the idea of DeepJSCC-l, Kurka and Gunduz 2020).
- ``ReferenceEncoder`` / ``ReferenceDecoder``: the five-layer network of the reference paper (arXiv 2602.00136), one set of
  weights for one ratio.

Shapes: images are (B, bands, H, W) in [0, 1]; symbols are (B, layers, H/p, W/p, 2), real and imaginary part last, p being
``patch``; reliability is (B, layers, H/p, W/p), which is 1 / (1 + noise variance), 0 where nothing was received.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def normalise_power(symbols: Tensor, kept: Tensor | None = None) -> Tensor:
    """Scale each image's symbols to mean power 1 (contract 1: the one place where this happens).

    Args:
        symbols: (B, layers, h, w, 2).
        kept: (B, layers), 1 for the layers that are sent; the others become 0. None sends all.
    """
    b, layers, h, w, _ = symbols.shape
    if kept is None:
        count = torch.full((b,), float(layers * h * w), device=symbols.device)
    else:
        symbols = symbols * kept[:, :, None, None, None]
        count = kept.sum(1) * (h * w)
    power = symbols.float().square().sum((1, 2, 3, 4)) / count.clamp_min(1)
    return symbols.float() * torch.rsqrt(power + 1e-9)[:, None, None, None, None]


def pad_to_patch(image: Tensor, patch: int) -> Tensor:
    """Continue (B, bands, H, W) by its last row and column to sides that are multiples of ``patch``."""
    height, width = image.shape[2:]
    missing = (0, -width % patch, 0, -height % patch)
    return F.pad(image, missing, mode="replicate") if any(missing) else image


class Modulation(nn.Module):
    """Scale and shift of feature maps by a few numbers that hold for the whole image (FiLM, Perez et al. 2018)."""

    def __init__(self, conditions: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.channels, self.blocks = channels, blocks
        last = nn.Linear(64, 2 * channels * blocks)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(nn.Linear(conditions, 64), nn.SiLU(), last)

    def forward(self, conditions: Tensor) -> list[tuple[Tensor, Tensor]]:
        out = self.net(conditions).view(-1, self.blocks, 2, self.channels, 1, 1)
        return [(1 + out[:, i, 0], out[:, i, 1]) for i in range(self.blocks)]


class ResidualBlock(nn.Module):
    """Pre-activation residual block of two 3 x 3 convolutions, modulated between them; it begins as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        y = self.first(F.leaky_relu(x, 0.1))
        y = torch.addcmul(shift.to(y.dtype), y, scale.to(y.dtype))
        return x + self.second(F.leaky_relu(y, 0.1))


class AdaptiveEncoder(nn.Module):
    """Image to ordered layers of complex symbols.

    ``forward(image, layers, snr_db, snr_known)``: ``layers`` (B,) is how many will be sent, ``snr_db`` (B,) the Es/N0 that the
    transmitter was told and ``snr_known`` (B,) 1 where it was told one.
    """

    patch = 8

    def __init__(self, bands: int = 3, layers: int = 48, channels: int = 48, blocks: int = 3) -> None:
        super().__init__()
        self.bands, self.layers = bands, layers
        self.stem = nn.Conv2d(16 * bands, channels, 3, padding=1)
        self.modulation = Modulation(3, channels, blocks)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))
        self.head = nn.Conv2d(4 * channels, 2 * layers, 1)
        self.linear = nn.Conv2d(64 * bands, 2 * layers, 1)

    def forward(self, image: Tensor, layers: Tensor, snr_db: Tensor, snr_known: Tensor) -> Tensor:
        x = image - 0.5
        fraction = layers.float() / self.layers
        conditions = torch.stack([torch.log2(fraction) / 3, snr_known * snr_db / 10, snr_known], 1)
        y = self.stem(F.pixel_unshuffle(x, 4))
        for block, (scale, shift) in zip(self.blocks, self.modulation(conditions), strict=True):
            y = block(y, scale, shift)
        z = self.head(F.pixel_unshuffle(y, 2)) + self.linear(F.pixel_unshuffle(x, 8))
        b, _, h, w = z.shape
        return z.view(b, self.layers, 2, h, w).permute(0, 1, 3, 4, 2)


class AdaptiveDecoder(nn.Module):
    """Received layers to image: ``forward(symbols, reliability)``; what was not received has reliability 0."""

    patch = 8

    def __init__(self, bands: int = 3, layers: int = 48, channels: int = 64, blocks: int = 3) -> None:
        super().__init__()
        self.bands, self.layers = bands, layers
        self.stem = nn.Conv2d(3 * layers, 4 * channels, 1)
        self.modulation = Modulation(3, channels, blocks)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(blocks))
        self.head = nn.Conv2d(channels, 16 * bands, 3, padding=1)
        self.linear = nn.Conv2d(3 * layers, 64 * bands, 1)

    def forward(self, symbols: Tensor, reliability: Tensor) -> Tensor:
        b, layers, h, w, _ = symbols.shape
        weighted = (symbols * reliability[..., None]).permute(0, 1, 4, 2, 3).reshape(b, 2 * layers, h, w)
        received = torch.cat([weighted, reliability - 0.5 * (reliability > 0)], 1)
        seen = (reliability > 0).float().mean((1, 2, 3)).clamp_min(1 / (4 * layers))
        mean_reliability = (reliability.mean((1, 2, 3)) / seen).clamp(1e-3, 1 - 1e-3)
        conditions = torch.stack(
            [torch.log2(seen) / 3, torch.logit(mean_reliability) / 2.3, 2 * mean_reliability - 1], 1
        )
        y = F.pixel_shuffle(self.stem(received), 2)
        for block, (scale, shift) in zip(self.blocks, self.modulation(conditions), strict=True):
            y = block(y, scale, shift)
        return F.pixel_shuffle(self.head(y), 4) + F.pixel_shuffle(self.linear(received), 8) + 0.5


class ReferenceEncoder(nn.Module):
    """The encoder of arXiv 2602.00136: five 5 x 5 convolutions (16-32-32-32-2c channels, two strides of 2) with PReLU.

    Fixed ratio: the image's ``layers`` are the c complex planes of H/4 x W/4.
    """

    patch = 4

    def __init__(self, bands: int = 3, layers: int = 4) -> None:
        super().__init__()
        self.bands, self.layers = bands, layers
        widths, strides = (bands, 16, 32, 32, 32, 2 * layers), (2, 2, 1, 1, 1)
        stages: list[nn.Module] = []
        for cin, cout, stride in zip(widths[:-1], widths[1:], strides, strict=True):
            stages += [nn.Conv2d(cin, cout, 5, stride, padding=2), nn.PReLU()]
        self.net = nn.Sequential(*stages[:-1])

    def forward(self, image: Tensor, layers: Tensor, snr_db: Tensor, snr_known: Tensor) -> Tensor:
        z = self.net(image)
        b, _, h, w = z.shape
        return z.view(b, self.layers, 2, h, w).permute(0, 1, 3, 4, 2)


class ReferenceDecoder(nn.Module):
    """The decoder of arXiv 2602.00136: five 5 x 5 transposed convolutions with PReLU, sigmoid last."""

    patch = 4

    def __init__(self, bands: int = 3, layers: int = 4) -> None:
        super().__init__()
        self.bands, self.layers = bands, layers
        widths, strides = (2 * layers, 32, 32, 32, 16, bands), (1, 1, 1, 2, 2)
        stages: list[nn.Module] = []
        for cin, cout, stride in zip(widths[:-1], widths[1:], strides, strict=True):
            stages += [nn.ConvTranspose2d(cin, cout, 5, stride, padding=2, output_padding=stride - 1), nn.PReLU()]
        self.net = nn.Sequential(*stages[:-1], nn.Sigmoid())

    def forward(self, symbols: Tensor, reliability: Tensor) -> Tensor:
        b, layers, h, w, _ = symbols.shape
        received = (symbols * (reliability > 0)[..., None]).permute(0, 1, 4, 2, 3).reshape(b, 2 * layers, h, w)
        return self.net(received)


ENCODERS: dict[str, type[nn.Module]] = {"adaptive": AdaptiveEncoder, "reference": ReferenceEncoder}
DECODERS: dict[str, type[nn.Module]] = {"adaptive": AdaptiveDecoder, "reference": ReferenceDecoder}


def multiply_adds(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of all convolutions, transposed ones too, and linear layers in one forward pass over ``inputs``."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        weight: Tensor = layer.weight  # type: ignore[assignment]
        # the side at each place of which the whole kernel is applied once
        places = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        channels = places.shape[-1 if isinstance(layer, nn.Linear) else 1]
        total += places.numel() // channels * math.prod(weight.shape)

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, kinds)]
    try:
        with torch.inference_mode():
            module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return total
