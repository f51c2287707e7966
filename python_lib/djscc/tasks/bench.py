# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the classifications that are shipped: clean, over the eight symmetries, and on received tiles. Writes results/tasks.json.

``python -m djscc.tasks.bench --data eurosat_test.zip`` (nothing was chosen on these tiles). AWGN at symbol level, Es/N0 per complex
symbol. Shares in per cent, with half the 95 % interval. The published figures are of trainings of other length on another split,
perhaps from ImageNet's weights; ours start from random ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from djscc.campaign.plan import resolve_data
from djscc.codec import Codec, load_codec
from djscc.codec.awgn import add_noise
from djscc.codec.networks import multiply_adds
from djscc.imagery import ImageError, TileSet, load_tiles
from djscc.tasks import available_tasks, load_task, summarise
from djscc.tasks.classification import Classification

PUBLISHED = {"efficientvit-m2": 98.76, "mobilevit-v2": 99.09, "resnet8": 92.88}
"""Accuracy on EuroSAT in per cent, as github.com/ltdung/SnT-SENTRY gives it; its ResNet8 was taught by two larger networks."""

POINTS: tuple[tuple[str, float], ...] = (
    ("1/48", -5), ("1/48", 0), ("1/48", 8), ("1/12", -8), ("1/12", -5), ("1/12", 0), ("1/12", 8), ("1/4", -8), ("1/4", 0),
)  # fmt: skip


def symmetries(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The eight symmetries of the square of (N, H, W, C)."""
    for turned in (images, images.transpose(0, 2, 1, 3)):
        for rows in (slice(None), slice(None, None, -1)):
            for columns in (slice(None), slice(None, None, -1)):
                yield np.ascontiguousarray(turned[:, rows, columns])


def share(right: NDArray[np.bool_]) -> dict[str, float]:
    """A share in per cent, and half its 95 % interval (normal approximation)."""
    mean = float(right.mean())
    return {"percent": round(100 * mean, 2), "half_interval": round(196 * (mean * (1 - mean) / len(right)) ** 0.5, 2)}


def send(codec: Codec, tiles: NDArray[np.uint8], ratio: str, snr_db: float, batch: int = 256) -> NDArray[np.uint8]:
    """The tiles as received at one point."""
    rng = np.random.default_rng(1)
    numerator, denominator = map(int, ratio.split("/"))
    layers, variance = codec.layers_for_ratio(numerator / denominator), 10 ** (-snr_db / 10)
    out = []
    for start in range(0, len(tiles), batch):
        part = tiles[start : start + batch]
        symbols = codec.encode(part, layers)
        full, known = np.full(symbols.shape, variance, np.float32), np.ones(symbols.shape, bool)
        out.append(codec.decode(add_noise(symbols, variance, rng), full, known, *part.shape[1:3]))
    return np.concatenate(out)


def measure(task: Classification, tiles: TileSet, received: dict[str, NDArray[np.uint8]]) -> dict[str, Any]:
    """Everything of one classification."""
    reference = task.find_reference(tiles)
    averaged = np.mean([task.probabilities(images) for images in symmetries(tiles.images)], axis=0).argmax(1)
    image = torch.rand(1, 3, *tiles.images.shape[1:3])
    return {
        "id": task.id,
        "trained_on": "received tiles" if task.manifest["training"].get("received") else "clean tiles",
        "clean_accuracy": share(reference.chosen == reference.labels),
        "clean_accuracy_over_symmetries": share(averaged == reference.labels),
        "published_percent": PUBLISHED.get(task.name),
        "received": {
            point: {key: round(value, 4) for key, value in _judged(task, images, reference).items()}
            for point, images in received.items()
        },
        "parameters": task.manifest["network"]["parameters"],
        "weights_bytes": (available_tasks()[task.name] / task.manifest["network"]["file"]).stat().st_size,
        "multiply_adds": multiply_adds(task.network, image),
    }


def _judged(task: Classification, images: NDArray[np.uint8], reference: Any) -> dict[str, float]:
    entries = [{"tasks": {task.name: entry}} for entry in task.measure(images, reference)]
    return summarise(entries)[task.name]


def run(tiles: TileSet, names: Sequence[str], codec: Codec) -> dict[str, Any]:
    """The result of :func:`measure` for each classification by name."""
    if tiles.labels is None:
        raise ImageError("the tiles have no labels; a classification is measured on one folder a class")
    received = {f"{ratio} at {snr:g} dB": send(codec, tiles.images, ratio, snr) for ratio, snr in POINTS}
    tasks = (load_task(name) for name in names)
    return {task.name: measure(task, tiles, received) for task in tasks if isinstance(task, Classification)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.tasks.bench", description=__doc__)
    parser.add_argument("--data", required=True, help="folder (or .zip) of labelled tiles, one folder a class")
    parser.add_argument("--limit", type=int, help="take that many tiles, spread over the folder")
    parser.add_argument("--out", type=Path, default=Path("results/tasks.json"))
    arguments = parser.parse_args()
    tiles = load_tiles(resolve_data(arguments.data)).take(arguments.limit)
    codec = load_codec("adaptive")
    result = {
        "command": "python -m djscc.tasks.bench " + " ".join(Path(a).name if "/" in a else a for a in sys.argv[1:]),
        "data": f"{Path(arguments.data).stem}, {len(tiles)} tiles of {tiles.images.shape[1]} x {tiles.images.shape[2]}",
        "codec": f"{codec.name} ({codec.id:08x})",
        "tasks": run(tiles, list(available_tasks()), codec),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
