# SPDX-License-Identifier: GPL-3.0-or-later
"""Run folders made up for tests: per-tile losses drawn around a known surface, written through the library's own run log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from djscc.campaign import RunLog
from djscc.semantic_loss import FORMS, FULL_SCALE_DB

CLASSES = tuple(f"Class{i}" for i in range(10))
SURFACE = "two_distortions"
PARAMETERS = {  # of the loss of each metric
    "psnr": (0.6, 0.03, 0.6, 2.0, 0.6, 0.3, 0.02),
    "ssim": (0.95, 0.008, 1.1, -6.0, 0.85, 0.5, 0.02),
    "lpips": (0.7, 0.02, 0.9, -3.0, 0.8, 0.5, 0.02),
    "accuracy": (0.9, 0.006, 1.6, -6.0, 1.3, 0.9, 0.01),
}
RATIOS = (1 / 48, 1 / 24, 1 / 12)
SNRS = (-5.0, 0.0, 5.0, 10.0, 15.0)


def tile_records(
    ratios: Sequence[float] = RATIOS,
    snrs: Sequence[float] = SNRS,
    tiles: int = 64,
    metrics: Sequence[str] = tuple(PARAMETERS),
    seed: int = 0,
    **fields: Any,
) -> list[dict[str, Any]]:
    """Flat per-tile records, as RunLog.tiles() gives. The same tiles at every point: some are harder than others."""
    rng = np.random.default_rng(seed)
    hardness = np.exp(0.3 * rng.standard_normal(tiles) - 0.045)
    labels = rng.integers(10, size=tiles)
    records = []
    for ratio in ratios:
        for snr_db in snrs:
            means = {m: float(FORMS[SURFACE].evaluate(PARAMETERS[m], ratio, snr_db)) for m in metrics}
            for index in range(tiles):
                losses = {m: mean * hardness[index] * np.exp(0.05 * rng.standard_normal()) for m, mean in means.items()}
                record = {
                    "codec": "adaptive",
                    "channel": "awgn",
                    "ratio": ratio,
                    "snr_db": snr_db,
                    "scene_id": "0000beef",
                    "received": True,
                    "index": index,
                    "name": f"tile{index}.png",
                    **fields,
                }
                if "psnr" in losses:
                    record["psnr_db"] = FULL_SCALE_DB * (1 - losses["psnr"])
                if "ssim" in losses:
                    record["ssim"] = 1 - losses["ssim"]
                if "lpips" in losses:
                    record["lpips"] = losses["lpips"]
                if "accuracy" in losses:
                    label = int(labels[index])
                    wrong = rng.random() < means["accuracy"]
                    decision = (label + 1) % 10 if wrong else label
                    judged = {"decision": CLASSES[decision], "original": CLASSES[label], "label": CLASSES[label]}
                    record |= {"label": label, "tasks": {"resnet8": judged}}
                records.append(record)
    return records


def write_run(
    folder: Path,
    *,
    codec: str = "adaptive",
    channel: str = "rician-k10",
    pictures: int = 4,
    lost: Sequence[tuple[float, float]] = (),
    over_the_air: bool = False,
    level: str = "flowgraph",
    **options: Any,
) -> Path:
    """A run folder with one frame a point; frames at ``lost`` (ratio, SNR) are logged as not received."""
    log = RunLog(folder)
    rng = np.random.default_rng(1)
    log.start(
        {"name": folder.name, "level": level, "codecs": [codec], "impairments": {"cfo_hz": 12500.0, "clock_ppm": 8.0}}
    )
    records = tile_records(codec=codec, channel=channel, **options)
    originals = _landscapes(pictures)
    for index, original in enumerate(originals):
        log.save_picture(original, "sent", f"{index:05d}")
    frames: dict[tuple[float, float], list[dict[str, Any]]] = {}
    for record in records:
        frames.setdefault((record["ratio"], record["snr_db"]), []).append(record)
    shared = ("codec", "channel", "ratio", "snr_db", "scene_id", "received")
    for number, ((ratio, snr_db), tiles) in enumerate(frames.items()):
        point = f"{codec}_{channel}_r{ratio:.4f}_snr{snr_db:+05.1f}_s1"
        frame = {key: tiles[0][key] for key in shared} | {
            "point": point,
            "frame_number": number,
            "codec_id": "1234abcd",
        }
        frame["on_air_ratio"] = 1.13 * ratio + 0.001
        frame["received"] = (ratio, snr_db) not in lost
        entries = [{key: value for key, value in tile.items() if key not in shared} for tile in tiles]
        if frame["received"]:
            frame |= {
                "snr_est_db": snr_db + 0.1 + 0.2 * rng.standard_normal(),
                "cfo_hz": 12500 + 8 * rng.standard_normal(),
                "clock_ppm": 8 + 0.1 * rng.standard_normal(),
                "lost_samples": 0,
                "erased": 0.0,
            }
            for index, original in enumerate(originals):
                noise = (
                    rng.standard_normal(original.shape)
                    * 90
                    * float(FORMS[SURFACE].evaluate(PARAMETERS["lpips"], ratio, snr_db))
                )
                noisy = np.clip(original + noise, 0, 255).astype(np.uint8)
                log.save_picture(noisy, "received", point, f"{index:05d}")
        else:
            entries = [{"index": tile["index"], "name": tile["name"]} for tile in tiles]
        if over_the_air:
            frame["snr_db"] = None
        log.append({**frame, "tiles": entries})
    return folder


def _landscapes(count: int) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Smooth coloured tiles of 64 x 64 that stand in for fields and water."""
    y, x = np.mgrid[0:64, 0:64] / 64
    tiles = []
    for i in range(count):
        waves = [np.sin(7 * x + i) + np.cos(5 * y * (1 + i)), np.cos(9 * x * y + i), np.sin(12 * (x - y) + 2 * i)]
        tiles.append(np.clip(np.stack(waves, -1) * 45 + (70, 95, 60), 0, 255).astype(np.uint8))
    return tiles
