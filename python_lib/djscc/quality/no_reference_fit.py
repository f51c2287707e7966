# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit the estimate of quality without a reference to a codec, and measure how far it is off.

``python -m djscc.quality.no_reference_fit --data FOLDER`` sends tiles through the codec over AWGN and Rician fading at random
ratios, Es/N0 and shares of lost symbols, and writes ``no_reference.json`` into the codec's folder: to be done again whenever its
weights change. ``--measure FOLDER... --json results/no_reference.json`` fits nothing, and compares estimates with the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from djscc.campaign.plan import resolve_data
from djscc.channels.symbols import rician_gain
from djscc.codec import Codec, load_codec
from djscc.codec.awgn import add_noise
from djscc.errors import DjsccError
from djscc.imagery import TileSet, load_tiles
from djscc.quality import measure
from djscc.quality.no_reference import FILE, NoReferenceModel, features, model_of, side_information, terms

SNR_DB = (-10.0, 20.0)  # drawn from, for each tile its own
LOST = 0.2  # share of tiles that lose symbols
BATCH = 64


@dataclass(frozen=True)
class Sample:
    """Tiles as received: their features (N, 11), the truth, and how each was sent."""

    features: NDArray[np.float64]
    mse: NDArray[np.float64]
    lpips: NDArray[np.float64]
    layers: NDArray[np.int64]
    snr_db: NDArray[np.float64]


def draw(codec: Codec, tiles: NDArray[np.uint8], times: int, seed: int) -> Sample:
    """Send each tile ``times`` times, each time at another ratio, Es/N0, fade (none, or K of 5 to 20 dB) and loss."""
    if codec.bands != 3:
        raise DjsccError(
            f"codec {codec.name} has {codec.bands} bands: the estimate is of PSNR and LPIPS, which is of three; choose another"
        )
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    low, high = codec.manifest["range"]["layers"]
    parts: list[tuple[NDArray[Any], ...]] = []
    for _ in range(times):
        order = rng.permutation(len(tiles))
        for start in range(0, len(order), BATCH):
            images = tiles[order[start : start + BATCH]]
            n = len(images)
            layers = round(np.exp(rng.uniform(np.log(low), np.log(high))))
            sent = codec.encode(images, layers)
            snr_db = rng.uniform(*SNR_DB, n)
            k_factor = torch.from_numpy(10 ** (rng.uniform(0.5, 2, n)))
            gain = np.where(rng.random(n) < 0.5, 1, np.maximum(rician_gain((n,), k_factor, generator).numpy(), 1e-3))
            variance = np.broadcast_to((10 ** (-snr_db / 10) / gain)[:, None], sent.shape).astype(np.float32)
            known = np.ones(sent.shape, bool)
            for i in np.flatnonzero(rng.random(n) < LOST):  # a burst, as lost samples are, or the end of a frame
                first, length = rng.integers(sent.shape[1]), rng.integers(sent.shape[1] // 2)
                known[i, first : first + length] = False
            noise = add_noise(np.zeros_like(sent), 1.0, rng) * np.sqrt(variance)
            received = codec.decode(sent + noise, variance, known, *images.shape[1:3])
            values = measure(images, received, ("mse", "lpips"))
            share, reliability = side_information(codec, [layers] * n, variance.ravel(), known.ravel())
            of_tiles = features(received, share, reliability)
            parts.append((of_tiles, values["mse"], values["lpips"], np.full(n, layers), snr_db))
    return Sample(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def compare(model: NoReferenceModel, sample: Sample) -> dict[str, Any]:
    """Mean absolute error, bias and rank correlation of both estimates: over all tiles, and among those sent alike."""
    logarithms = np.clip(_predict(model, sample.features), *model.range)
    truth = {"psnr_db": -10 * np.log10(np.maximum(sample.mse, 1e-9)), "lpips": sample.lpips}
    estimate = {"psnr_db": -10 / np.log(10) * logarithms[:, 0], "lpips": np.exp(logarithms[:, 1])}
    groups = sample.layers * 100 + np.round(sample.snr_db / 3)
    result: dict[str, Any] = {"tiles": len(sample.mse)}
    for name, true in truth.items():
        error = estimate[name] - true
        alike = [
            spearmanr(true[groups == g], estimate[name][groups == g]).statistic
            for g in np.unique(groups)
            if (groups == g).sum() >= 8
        ]
        result[name] = {
            "mean_absolute_error": _digits(np.abs(error).mean()),
            "bias": _digits(error.mean()),
            "nine_tenths_within": _digits(np.quantile(np.abs(error), 0.9)),
            "rank_correlation": _digits(spearmanr(true, estimate[name]).statistic),
            "rank_correlation_at_one_ratio_and_snr": _digits(np.nanmean(alike)) if alike else None,
            "standard_deviation_of_the_truth": _digits(true.std()),
        }
    return result


def _predict(model: NoReferenceModel, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return terms(values) @ model.coefficients


def _digits(value: Any) -> float:
    return float(f"{float(value):.4g}")


def fit(name: str, tiles: TileSet, times: int, seed: int, decoders: Sequence[str] | None = None) -> Path:
    """Fit every decoder of a codec (or those named) and write the file beside its weights."""
    entries, codec = {}, load_codec(name)
    for decoder in decoders or codec.manifest["decoders"]:
        codec = load_codec(name, decoder)
        sample = draw(codec, tiles.images, times, seed)
        model = NoReferenceModel.fit(sample.features, sample.mse, sample.lpips)
        error = compare(model, sample)
        print(f"{decoder}: {error['psnr_db']['mean_absolute_error']} dB, LPIPS {error['lpips']['mean_absolute_error']}")
        entries[codec.decoder_sha256] = {"decoder": decoder, **model.to_dict()}
    file = codec.folder / FILE
    file.write_text(
        json.dumps({"codec_id": f"{codec.id:08x}", "tiles": len(tiles), "decoders": entries}, indent=1) + "\n"
    )
    return file


def measured(name: str, folders: Sequence[str], limit: int | None, times: int, seed: int) -> dict[str, Any]:
    """How far the estimates of every decoder of a codec are off, for each folder of tiles."""
    result: dict[str, Any] = {}
    for decoder in load_codec(name).manifest["decoders"]:
        codec = load_codec(name, decoder)
        model = model_of(codec)
        if model is None:
            raise DjsccError(f"codec {name}, decoder {decoder}: no estimate was fitted to these weights; fit it first")
        result[decoder] = {}
        for folder in folders:
            tiles = load_tiles(resolve_data(folder)).take(limit)
            # a small set is sent more often
            sample = draw(codec, tiles.images, times * max(1, 256 // len(tiles)), seed)
            result[decoder][Path(folder).stem] = compare(model, sample)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.quality.no_reference_fit", description=__doc__)
    parser.add_argument("--codec", default="adaptive", help="name or folder of a codec (default: adaptive)")
    parser.add_argument("--data", help="fit to these tiles")
    parser.add_argument("--measure", nargs="+", metavar="FOLDER", help="measure on these tiles instead")
    parser.add_argument("--limit", type=int, help="take that many tiles of each folder, spread over it")
    parser.add_argument("--times", type=int, default=6, help="how often to send each tile (default: 6)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("results/no_reference.json"), help="where --measure writes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if arguments.measure:
            words = [Path(a).name if "/" in a else a for a in sys.argv[1:]]
            result = {
                "command": "python -m djscc.quality.no_reference_fit " + " ".join(words),
                "codec": arguments.codec,
                "codec_id": f"{load_codec(arguments.codec).id:08x}",
                "decoders": measured(
                    arguments.codec, arguments.measure, arguments.limit, arguments.times, arguments.seed + 1
                ),
            }
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(result, indent=1) + "\n")
            print(arguments.json)
        elif arguments.data:
            tiles = load_tiles(resolve_data(arguments.data)).take(arguments.limit)
            print(fit(arguments.codec, tiles, arguments.times, arguments.seed))
        else:
            parser.error("give --data to fit, or --measure")
    except DjsccError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
