# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the codecs: PSNR over the plane, what being told the SNR is worth, prefixes, peaks, speed. Writes results/codec.json.

``python -m djscc.codec.bench --data FOLDER`` (EuroSAT's test tiles; nothing was chosen on them). AWGN at symbol level, Es/N0 per
complex symbol, mean over tiles of the PSNR of each tile. The command line is in the result.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from djscc.campaign.plan import resolve_data
from djscc.codec import Codec, available_codecs, load_codec
from djscc.codec.awgn import add_noise, squared_error
from djscc.codec.networks import multiply_adds
from djscc.imagery import load_tiles

RATIOS = {"1/48": 4, "1/24": 8, "1/16": 12, "1/12": 16, "1/8": 24, "1/4": 48}
SNRS_DB = (-8, -5, -2, 0, 4, 8, 12, 20)
FEW_SNRS_DB = (-5, 0, 8)


def mean_psnr(
    codec: Codec,
    tiles: NDArray[np.uint8],
    layers: int,
    snr_db: float,
    told_db: float | None = None,
    kept: int | None = None,
) -> float:
    """Mean of per-tile PSNR over AWGN; ``kept`` is how many of the layers arrive."""
    rng = np.random.default_rng(1)
    squares = [
        squared_error(codec, tiles[start : start + 256], layers, snr_db, rng, told_db, kept)
        for start in range(0, len(tiles), 256)
    ]
    return float((10 * np.log10(255**2 / np.maximum(np.concatenate(squares), 1e-3))).mean())


def plane(
    codec: Codec, tiles: NDArray[np.uint8], snrs_db: Sequence[float], told: bool = False
) -> dict[str, dict[str, float]]:
    """PSNR for each ratio and SNR."""
    return {
        ratio: {str(snr): round(mean_psnr(codec, tiles, layers, snr, snr if told else None), 3) for snr in snrs_db}
        for ratio, layers in RATIOS.items()
    }


def by_content(codec: Codec, tiles: NDArray[np.uint8], snr_db: float = 0, layers: int = 16) -> dict[str, float]:
    """What choosing layers by content gains over frames of 64 tiles in random order, at 1/12; the header's table is paid for."""
    from djscc.campaign.reception import FrameSink
    from djscc.campaign.sender import FrameSource
    from djscc.campaign.summary import sum_up
    from djscc.imagery import TileSet
    from djscc.waveform import FrameReport, ReceivedFrame

    order = np.random.default_rng(1).permutation(len(tiles))[: len(tiles) // 64 * 64]
    chosen = TileSet(tiles[order], tuple(map(str, order)))
    report = FrameReport.exact(snr_db)
    variance = 10 ** (-snr_db / 10)
    result = {}
    for name, choice in (("equal", False), ("by_content", True)):
        rng = np.random.default_rng(2)
        sink = FrameSink([codec], chosen, metrics=("mse", "psnr_db"))
        for header, payload in FrameSource(chosen, codec, layers, by_content=choice):
            arrived = add_noise(payload, variance, rng)
            full = np.full(len(payload), variance, np.float32)
            sink.accept(ReceivedFrame(header, arrived, full, np.ones(len(payload), bool), report))
        total = sum_up(sink.records)
        for key in ("psnr_db", "psnr_of_mean_mse_db", "ratio", "on_air_ratio"):
            result[f"{name}_{key}"] = round(total[key], 4)
    return result


def peaks(codec: Codec, tiles: NDArray[np.uint8]) -> dict[str, float]:
    """Peak-to-average power ratio in dB of the symbols, and after pulse shaping, exceeded by 1 sample in 1000 and in 10,000."""
    from djscc.waveform import WaveformSettings
    from djscc.waveform.format import rrc_pulse

    settings = WaveformSettings()
    symbols = codec.encode(tiles[:128], 16 if not codec.fixed else codec.layers).reshape(-1)
    rotation = np.exp(0.5j * np.pi * np.random.default_rng(1).integers(0, 4, len(symbols)))
    raised = np.zeros(len(symbols) * 4, np.complex64)
    raised[::4] = symbols * rotation
    shaped = np.convolve(raised, rrc_pulse(4, settings.roll_off), "same")
    result = {}
    for name, signal in (("symbols", symbols), ("shaped", shaped)):
        power = np.abs(signal) ** 2
        for share in (1e-3, 1e-4):
            result[f"{name}_{share:g}"] = round(float(10 * np.log10(np.quantile(power, 1 - share) / power.mean())), 2)
    return result


def rate(action: Callable[[], Any], seconds: float = 3.0) -> float:
    """Calls a second, after a warm-up; the best of three."""
    action()
    best = 0.0
    for _ in range(3):
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds / 3:
            action()
            count += 1
        best = max(best, count / (time.perf_counter() - started))
    return best


def speed() -> dict[str, Any]:
    """Tiles a second in batches of 64, and the share of the multiply-add rate of a large matrix product in the same run."""
    result: dict[str, Any] = {"threads": torch.get_num_threads()}
    matmul = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.randn(2048, 2048).to(dtype)
        matmul[str(dtype)[6:]] = rate(partial(torch.matmul, a, a)) * 2048**3
    result["matmul_gmac_per_s"] = {k: round(v / 1e9, 1) for k, v in matmul.items()}
    tiles = np.random.default_rng(1).integers(0, 256, (64, 64, 64, 3), dtype=np.uint8)
    one = torch.ones(1)
    for decoder in ("ground", "lite"):
        codec = load_codec("adaptive", decoder)
        sent = codec.encode(tiles, 16)
        variance, received = np.full(sent.shape, 0.1, np.float32), np.ones(sent.shape, bool)
        macs = {
            "encoder": multiply_adds(codec.encoder, torch.rand(1, 3, 64, 64), one, one, one),
            decoder: multiply_adds(
                codec.decoder, torch.randn(1, codec.layers, 8, 8, 2), torch.ones(1, codec.layers, 8, 8)
            ),
        }
        calls: dict[str, Callable[[], Any]] = {
            "encoder": partial(codec.encode, tiles, 16),
            decoder: partial(codec.decode, sent, variance, received, 64, 64),
        }
        for name, call in calls.items():
            tiles_per_s = 64 * rate(call)
            share = tiles_per_s * macs[name] / max(matmul.values())
            result[name] = {
                "multiply_adds": macs[name],
                "tiles_per_s": round(tiles_per_s),
                "share_of_matmul_rate": round(share, 3),
            }
    return result


def measure_codec(name: str, tiles: NDArray[np.uint8]) -> dict[str, Any]:
    """Everything of one codec."""
    codec = load_codec(name)
    entry: dict[str, Any] = {"id": f"{codec.id:08x}", "validation_psnr_db": codec.manifest["validation_psnr_db"]}
    if codec.fixed:
        snrs = {str(s): round(mean_psnr(codec, tiles, codec.layers, s), 3) for s in SNRS_DB}
        return entry | {"ratio": codec.ratio(codec.layers), "psnr_db": snrs, "papr_db": peaks(codec, tiles)}
    best, *others = codec.manifest["decoders"]
    entry[best] = plane(codec, tiles, SNRS_DB)
    entry[f"{best}_told_the_snr"] = plane(codec, tiles, FEW_SNRS_DB, told=True)
    for decoder in others:
        entry[decoder] = plane(load_codec(name, decoder), tiles, FEW_SNRS_DB)
    entry["by_content"] = by_content(codec, tiles)
    entry["told_3_db_too_high"] = {
        r: round(mean_psnr(codec, tiles, n, 0, 3) - mean_psnr(codec, tiles, n, 0, 0), 3) for r, n in RATIOS.items()
    }
    entry["told_3_db_too_low"] = {
        r: round(mean_psnr(codec, tiles, n, 0, -3) - mean_psnr(codec, tiles, n, 0, 0), 3) for r, n in RATIOS.items()
    }
    entry["prefix_against_planned_at_0_db"] = {
        f"{k}/192 of {n}/192": round(mean_psnr(codec, tiles, n, 0, kept=k) - mean_psnr(codec, tiles, k, 0), 3)
        for n, k in ((16, 8), (24, 16), (48, 24), (48, 16))
    }
    entry["papr_db"] = peaks(codec, tiles)
    return entry


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.codec.bench", description=__doc__)
    parser.add_argument("--data", default="landsat", help="folder of tiles (default: the shipped Landsat tiles)")
    parser.add_argument("--limit", type=int, help="take that many tiles, spread over the folder")
    parser.add_argument("--out", type=Path, default=Path("results/codec.json"))
    arguments = parser.parse_args()
    tiles = load_tiles(resolve_data(arguments.data)).take(arguments.limit)
    result = {
        "command": "python -m djscc.codec.bench " + " ".join(Path(a).name if "/" in a else a for a in sys.argv[1:]),
        "data": f"{Path(arguments.data).stem}, {len(tiles)} tiles of {tiles.images.shape[1]} x {tiles.images.shape[2]}",
        "codecs": {name: measure_codec(name, tiles.images) for name in available_codecs()},
        "speed": speed(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
