# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the codecs: PSNR over the plane, what others reach there, rate by content, prefixes, peaks. Writes results/codec.json.

``python -m djscc.codec.bench --data FOLDER`` (EuroSAT's test tiles; nothing was chosen on them). AWGN at symbol level, Es/N0 per
complex symbol, mean over tiles of the PSNR of each tile unless a name says otherwise. The command line is in the result. Speed is
``djscc.codec.runtimes``'s, digital links ``djscc.digital.bench``'s: what stands in results/digital.json is compared with here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.campaign.plan import resolve_data
from djscc.codec import Codec, available_codecs, load_codec
from djscc.codec.awgn import add_noise, squared_error
from djscc.imagery import TileSet, load_tiles

RATIOS = {"1/48": 4, "1/24": 8, "1/16": 12, "1/12": 16, "1/8": 24, "1/4": 48}
SNRS_DB = (-8, -5, -2, 0, 4, 8, 12, 20)
FEW_SNRS_DB = (-5, 0, 8)
# A first small network of the same kind (1.16 M parameters, 108,000 tiles seen in 24 minutes of one core), on the same test tiles.
# Its encoder is told the Es/N0.
FIRST_NETWORK_PSNR_DB = {
    "1/48": {"8": 28.7},
    "1/24": {"8": 32.87, "0": 29.77, "-5": 27.67},
    "1/12": {"8": 34.51, "0": 31.30, "-5": 29.01},
    "1/8": {"8": 35.10, "0": 32.15, "-5": 29.81},
    "1/4": {"8": 35.8},
}

Plane = dict[str, dict[str, float]]  # ratio, Es/N0 in dB, PSNR in dB


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


def plane(codec: Codec, tiles: NDArray[np.uint8], snrs_db: Sequence[float], told: bool = False) -> Plane:
    """PSNR for each ratio and SNR."""
    return {
        ratio: {str(snr): round(mean_psnr(codec, tiles, layers, snr, snr if told else None), 3) for snr in snrs_db}
        for ratio, layers in RATIOS.items()
    }


def is_monotone(table: Plane) -> dict[str, bool]:
    """Whether the PSNR rises with the SNR at every ratio, and with the ratio at every SNR."""
    values = np.array([list(row.values()) for row in table.values()])
    return {"in_snr": bool((np.diff(values, axis=1) > 0).all()), "in_ratio": bool((np.diff(values, axis=0) > 0).all())}


def ahead_of(table: Plane, other: Plane) -> dict[str, Any]:
    """By how many dB a table is ahead of another at that one's points, and the least and mean of it."""
    points = {
        ratio: {snr: round(table[ratio][snr] - psnr, 2) for snr, psnr in row.items()} for ratio, row in other.items()
    }
    all_points = [v for row in points.values() for v in row.values()]
    return {"points": points, "least": min(all_points), "mean": round(float(np.mean(all_points)), 2)}


def send_frames(
    codec: Codec, tiles: TileSet, layers: int, snr_db: float, by_content: bool | str = False, told: bool = False
) -> dict[str, float]:
    """Send tiles in frames of 64: both means of their PSNRs and both ratios. The header's table of layers is paid for.

    ``told`` is whether the encoder is told the Es/N0.
    """
    from djscc.campaign.reception import FrameSink
    from djscc.campaign.sender import FrameSource
    from djscc.campaign.summary import sum_up
    from djscc.waveform import FrameReport, ReceivedFrame

    report, variance = FrameReport.exact(snr_db), 10 ** (-snr_db / 10)
    rng = np.random.default_rng(2)
    sink = FrameSink([codec], tiles, metrics=("mse", "psnr_db"))
    for header, payload in FrameSource(tiles, codec, layers, snr_db if told else None, by_content=by_content):
        arrived = add_noise(payload, variance, rng)
        full = np.full(len(payload), variance, np.float32)
        sink.accept(ReceivedFrame(header, arrived, full, np.ones(len(payload), bool), report))
    total = sum_up(sink.records)
    return {key: round(total[key], 4) for key in ("psnr_db", "psnr_of_mean_mse_db", "ratio", "on_air_ratio")}


def by_content(codec: Codec, tiles: NDArray[np.uint8], snr_db: float = 0, layers: int = 16) -> dict[str, Any]:
    """What choosing layers by content does, for both objectives, over frames of 64 tiles in random order, at 1/12."""
    order = np.random.default_rng(1).permutation(len(tiles))[: len(tiles) // 64 * 64 or len(tiles)]
    chosen = TileSet(tiles[order], tuple(map(str, order)))
    result: dict[str, Any] = {"equal": send_frames(codec, chosen, layers, snr_db)}
    for objective in ("mse", "psnr"):
        result[objective] = send_frames(codec, chosen, layers, snr_db, objective)
        for key in ("psnr_db", "psnr_of_mean_mse_db"):
            result[objective][f"gain_in_{key}"] = round(result[objective][key] - result["equal"][key], 3)
    return result


def reference_points(name: str, tiles: NDArray[np.uint8], measured: dict[str, Any]) -> dict[str, Any]:
    """Every shipped network of the reference architecture at the point that it was trained for, and the codec ``name`` there.

    The other network was trained for the Es/N0; the codec's encoder is not told it, then told it. ``measured`` is what
    :func:`measure_codec` said of each codec: what stands there is not measured again.
    """
    codec, points = load_codec(name), {}
    best = next(iter(codec.manifest["decoders"]))
    known, known_told = measured[name][best], measured[name][f"{best}_told_the_snr"]
    for other in map(load_codec, available_codecs()):
        if other.fixed:
            snr_db = float(np.mean(other.manifest["range"]["snr_db"]))
            ratio, at = f"1/{1 / other.ratio(other.layers):.4g}", f"{snr_db:g}"
            layers = codec.layers_for_ratio(other.ratio(other.layers))
            reached = measured[other.name]["psnr_db"].get(at) or mean_psnr(other, tiles, other.layers, snr_db)
            ours = known.get(ratio, {}).get(at) or mean_psnr(codec, tiles, layers, snr_db)
            told = known_told.get(ratio, {}).get(at) or mean_psnr(codec, tiles, layers, snr_db, snr_db)
            points[other.name] = {
                "ratio": ratio,
                "snr_db": snr_db,
                "tiles_seen": other.manifest["training"]["tiles_seen"],
                "reference_psnr_db": round(reached, 3),
                f"{name}_psnr_db": round(ours, 3),
                f"{name}_told_psnr_db": round(told, 3),
                "ahead_db": round(ours - reached, 3),
                "told_ahead_db": round(told - reached, 3),
            }
    if not points:
        return {}
    result: dict[str, Any] = {"points": points}
    for key in ("ahead_db", "told_ahead_db"):
        ahead = [point[key] for point in points.values()]
        result |= {f"least_{key}": min(ahead), f"mean_{key}": round(float(np.mean(ahead)), 3)}
    return result


def ahead_of_links(path: Path) -> dict[str, Any]:
    """The least distance to each digital link, in dB, as ``djscc.digital.bench`` measured it; outages are left out."""
    if not path.is_file():
        return {}
    measured = json.loads(path.read_text())
    least: dict[str, Any] = {}
    for pair, table in measured["ahead_db"].items():
        for key in ("psnr_db", "psnr_of_mean_mse_db"):
            known = [
                (v[key], f"{ratio} at {snr} dB")
                for ratio, row in table.items()
                for snr, v in row.items()
                if v[key] is not None
            ]
            if known:
                worst, at = min(known)
                least.setdefault(pair, {})[key] = {"least": worst, "at": at, "behind_at": sum(v < 0 for v, _ in known)}
    return {"data": measured["data"], **least}


def peaks(codec: Codec, tiles: NDArray[np.uint8]) -> dict[str, float]:
    """Peak-to-average power ratio in dB, exceeded by 1 sample in 1000 and in 10,000: of the symbols; after pulse shaping as they
    are; and of whole frames from the modulator, whose spreading mixes the symbols, before its back-off clips."""
    from djscc.campaign.sender import FrameSource
    from djscc.waveform import Modulator, WaveformSettings
    from djscc.waveform.format import rrc_pulse

    settings = WaveformSettings(samples_per_symbol=4, back_off_db=30)
    layers = 16 if not codec.fixed else codec.layers
    some = TileSet(tiles[:128], tuple(map(str, range(len(tiles[:128])))))
    frames = list(FrameSource(some, codec, layers))
    symbols = np.concatenate([payload for _, payload in frames])
    rotation = np.exp(0.5j * np.pi * np.random.default_rng(1).integers(0, 4, len(symbols)))
    raised = np.zeros(len(symbols) * 4, np.complex64)
    raised[::4] = symbols * rotation
    shaped = np.convolve(raised, rrc_pulse(4, settings.roll_off), "same")
    modulator = Modulator(settings)
    modulated = np.concatenate([modulator.modulate(header, payload) for header, payload in frames])
    result = {}
    for name, signal in (("symbols", symbols), ("shaped", shaped), ("modulated", modulated)):
        power = np.abs(signal) ** 2
        for share in (1e-3, 1e-4):
            result[f"{name}_{share:g}"] = round(float(10 * np.log10(np.quantile(power, 1 - share) / power.mean())), 2)
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
    entry["monotone"] = is_monotone(entry[best])
    entry["ahead_of_first_network_db"] = ahead_of(entry[best], FIRST_NETWORK_PSNR_DB)
    entry[f"{best}_told_the_snr"] = plane(codec, tiles, FEW_SNRS_DB, told=True)
    entry["told_ahead_of_first_network_db"] = ahead_of(entry[f"{best}_told_the_snr"], FIRST_NETWORK_PSNR_DB)
    for decoder in others:
        entry[decoder] = plane(load_codec(name, decoder), tiles, FEW_SNRS_DB)
    entry["by_content"] = by_content(codec, tiles)
    for key, wrong_db in (("told_3_db_too_high", 3), ("told_3_db_too_low", -3)):
        right = entry[f"{best}_told_the_snr"]
        entry[key] = {r: round(mean_psnr(codec, tiles, n, 0, wrong_db) - right[r]["0"], 3) for r, n in RATIOS.items()}
    planned = {layers: entry[best][ratio]["0"] for ratio, layers in RATIOS.items()}
    entry["prefix_against_planned_at_0_db"] = {
        f"{k}/192 of {n}/192": round(mean_psnr(codec, tiles, n, 0, kept=k) - planned[k], 3)
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
    measured = {name: measure_codec(name, tiles.images) for name in available_codecs()}
    result = {
        "command": "python -m djscc.codec.bench " + " ".join(Path(a).name if "/" in a else a for a in sys.argv[1:]),
        "data": f"{Path(arguments.data).stem}, {len(tiles)} tiles of {tiles.images.shape[1]} x {tiles.images.shape[2]}",
        "codecs": measured,
        "reference_architecture": reference_points("adaptive", tiles.images, measured),
        "ahead_of_digital_links_db": ahead_of_links(arguments.out.parent / "digital.json"),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
