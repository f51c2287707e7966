# SPDX-License-Identifier: GPL-3.0-or-later
"""What a set of tiles is worth after the codec and AWGN, over ratio and Es/N0: measured once, then looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.campaign.sender import scene_id
from djscc.codec import Codec
from djscc.codec.awgn import add_noise
from djscc.imagery import TileSet
from djscc.quality import Originals, measure
from djscc.semantic_loss import FittedModel, Loss, fit_run_logs

METRICS = {"psnr": ("psnr_db", "mse"), "mse": ("mse",)}


@dataclass(frozen=True)
class Measured:
    """Mean ``losses`` (R, S) of the tiles at ``ratios`` (R,) and ``snr_db`` (S,); ``records`` are the tiles', as logged."""

    loss: Loss
    ratios: NDArray[np.float64]
    snr_db: NDArray[np.float64]
    losses: NDArray[np.float64]
    records: list[dict[str, Any]]

    def at(self, ratio: float, snr_db: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Mean loss of the tiles at one of the ratios, linear between the measured SNRs, constant beyond them."""
        row = int(np.argmin(np.abs(self.ratios - ratio)))
        return np.asarray(np.interp(snr_db, self.snr_db, self.losses[row]))

    def fit(self, seed: int = 1) -> FittedModel:
        """The semantic loss fitted to what was measured."""
        model = fit_run_logs(self.records, self.loss.metric, seed=seed).fits[0].model
        assert model is not None, "the measured plane could not be fitted"
        return model


def measure_plane(
    codec: Codec, tiles: TileSet, ratios: Sequence[float], snr_db: Sequence[float], loss: Loss, seed: int = 1
) -> Measured:
    """Send ``tiles`` over AWGN at every ratio and Es/N0 and measure them."""
    rng = np.random.default_rng(seed)
    originals, scene = Originals(tiles.images), scene_id(tiles.images)
    losses = np.empty((len(ratios), len(snr_db)))
    records: list[dict[str, Any]] = []
    for row, ratio in enumerate(ratios):
        sent = codec.encode(tiles.images, codec.layers_for_ratio(ratio))
        for column, snr in enumerate(snr_db):
            variance = 10 ** (-snr / 10)
            arrived = add_noise(sent, variance, rng)
            known = np.ones(sent.shape, bool)
            decoded = codec.decode(arrived, np.full(sent.shape, variance, np.float32), known, *tiles.images.shape[1:3])
            values = measure(originals, decoded, METRICS.get(loss.metric, (loss.metric,)))
            about = {"codec": codec.name, "channel": "awgn", "ratio": ratio, "snr_db": float(snr), "scene_id": scene}
            of_point = [
                about | {"index": i, "received": True} | {name: float(v[i]) for name, v in values.items()}
                for i in range(len(tiles))
            ]
            losses[row, column] = np.mean([loss.of(record) or 0.0 for record in of_point])
            records += of_point
    return Measured(loss, np.array(ratios), np.array(snr_db, np.float64), losses, records)
