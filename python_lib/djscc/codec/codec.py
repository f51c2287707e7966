# SPDX-License-Identifier: GPL-3.0-or-later
"""The codec as everything else sees it: uint8 tiles to complex64 symbols of mean power 1, and back (numpy in, numpy out)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from djscc.codec.networks import normalise_power, pad_to_patch
from djscc.codec.rate import RATE_FILE, RateModel
from djscc.errors import DjsccError


class CodecError(DjsccError):
    """A codec that is not there, does not match, or was asked for what it cannot do."""


def bf16_is_native(device: torch.device) -> bool:
    """True where bfloat16 convolutions run on the hardware (AVX-512 BF16, AMX, a GPU)."""
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.cuda.is_bf16_supported()


@dataclass(eq=False)
class Codec:
    """One encoder and one of its decoders, ready to use. Made by :func:`djscc.codec.load_codec`.

    ``id`` is the 32-bit number that stands in every frame's header: the first 32 bits of the SHA-256 of the encoder's
    weights. ``layers`` is how many layers of symbols there are, ``fixed`` that all of them must be sent (no prefixes).
    """

    name: str
    id: int
    encoder: nn.Module
    decoder: nn.Module
    layers: int
    bands: int
    patch: int
    fixed: bool
    manifest: dict[str, Any] = field(repr=False)
    folder: Path
    batch: int = 64
    decoder_sha256: str = ""  # of the decoder's weights

    def __post_init__(self) -> None:
        self.device = next(self.encoder.parameters()).device
        self.bf16 = bf16_is_native(self.device)

    @property
    def decoder_id(self) -> str:
        """The first eight digits of the hash of the decoder's weights, as ``id`` is of the encoder's."""
        return self.decoder_sha256[:8]

    def symbols_per_layer(self, height: int, width: int) -> int:
        """Complex symbols of one layer of a tile of this size."""
        return -(-height // self.patch) * -(-width // self.patch)

    def ratio(self, layers: int) -> float:
        """k/n when ``layers`` layers are sent (for tile sizes that are multiples of ``patch``)."""
        return layers / (self.bands * self.patch**2)

    def layers_for_ratio(self, ratio: float) -> int:
        """Layers to send for a ratio k/n, to the nearest; CodecError where the codec has no such ratio."""
        wanted = ratio * self.bands * self.patch**2 if math.isfinite(ratio) else 0.0
        layers = round(wanted)
        low = self.layers if self.fixed else 1
        if not (low <= layers <= self.layers and abs(layers - wanted) <= 0.25):
            step = self.bands * self.patch**2
            offered = (
                f"{low}/{step}"
                if self.fixed
                else f"whole multiples of 1/{step} from {low}/{step} to {self.layers}/{step}"
            )
            raise CodecError(f"ratio {ratio:.6g}: codec {self.name} offers {offered}")
        return layers

    @cached_property
    def rate_model(self) -> RateModel:
        """What chooses each tile's layers by its content; RateError where the codec has none."""
        return RateModel.load(self.folder / RATE_FILE)

    @torch.inference_mode()
    def encode(self, tiles: NDArray[np.uint8], layers: int, snr_db: float | None = None) -> NDArray[np.complex64]:
        """Encode (N, H, W, bands) uint8 tiles to (N, layers x symbols_per_layer) symbols, each tile of mean power 1.

        ``snr_db`` is the Es/N0 that the transmitter expects, if it does; it is never needed.
        """
        if tiles.ndim != 4 or tiles.dtype != np.uint8:
            raise CodecError(
                f"tiles {tiles.dtype} {tiles.shape}: codec {self.name} takes uint8 (N, H, W, {self.bands})"
            )
        if tiles.shape[3] != self.bands:
            raise CodecError(
                f"the image has {tiles.shape[3]} bands, codec {self.name} takes {self.bands}; choose bands with "
                "`djscc scale --bands`, or a codec that was trained for them"
            )
        if not (self.layers if self.fixed else 1) <= layers <= self.layers:
            raise CodecError(
                f"{layers} layers: codec {self.name} has {self.layers}" + (", all sent" if self.fixed else "")
            )
        out = []
        batch = self._batch(tiles.shape[1], tiles.shape[2])
        for start in range(0, len(tiles), batch):
            image = self._to_image(tiles[start : start + batch])
            n = len(image)
            plan = torch.full((n,), layers, device=self.device)
            told = torch.full((n,), 0.0 if snr_db is None else float(snr_db), device=self.device)
            known = torch.full((n,), 0.0 if snr_db is None else 1.0, device=self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                symbols = self.encoder(image, plan, told, known)
            sent = normalise_power(symbols[:, :layers]).reshape(n, -1, 2)
            out.append(torch.view_as_complex(sent.contiguous()).cpu().numpy())
        return np.concatenate(out)

    @torch.inference_mode()
    def decode(
        self,
        symbols: NDArray[np.complex64],
        noise_variance: NDArray[np.float32],
        received: NDArray[np.bool_],
        height: int,
        width: int,
    ) -> NDArray[np.uint8]:
        """Decode (N, k) received symbols to (N, H, W, bands) uint8 tiles.

        ``noise_variance`` (N, k) is that of the complex noise on symbols of power 1; ``received`` (N, k) is False for
        erasures. k is a whole number of layers, any prefix.
        """
        h, w = -(-height // self.patch), -(-width // self.patch)
        n, k = symbols.shape
        if k == 0 or k % (h * w) or k // (h * w) > self.layers:
            raise CodecError(f"{k} symbols a tile are no whole number of layers of {h * w} up to {self.layers}")
        out = []
        batch = self._batch(height, width)
        for start in range(0, n, batch):
            part = slice(start, start + batch)
            known = received[part] & np.isfinite(symbols[part]) & np.isfinite(noise_variance[part])
            values = np.where(known, symbols[part], 0).astype(np.complex64)
            reliability = np.where(known, 1 / (1 + np.maximum(noise_variance[part], 0)), 0).astype(np.float32)
            b = len(values)
            shape = (b, k // (h * w), h, w)
            y = torch.view_as_real(torch.from_numpy(values)).view(*shape, 2).to(self.device)
            r = torch.from_numpy(reliability).view(shape).to(self.device)
            missing = self.layers - shape[1]
            y, r = F.pad(y, (0, 0, 0, 0, 0, 0, 0, missing)), F.pad(r, (0, 0, 0, 0, 0, missing))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                image = self.decoder(y, r)
            image = (image.float()[:, :, :height, :width].clamp(0, 1) * 255).round().to(torch.uint8)
            out.append(image.permute(0, 2, 3, 1).cpu().numpy())
        return np.ascontiguousarray(np.concatenate(out))

    def _batch(self, height: int, width: int) -> int:
        """Tiles at once: as many pixels as ``batch`` tiles of 64 x 64, so that large tiles do not fill the memory."""
        return max(1, self.batch * 64 * 64 // (height * width))

    def _to_image(self, tiles: NDArray[np.uint8]) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(tiles)).to(self.device).permute(0, 3, 1, 2).float() / 255
        return pad_to_patch(image, self.patch).contiguous(memory_format=torch.channels_last)
