# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure JPEG 2000, WebP and AVIF over ideal DVB-S2/S2X beside the shipped codec. Writes results/digital.json.

``python -m djscc.digital.bench --data eurosat_test.zip`` (nothing was chosen on those tiles). The same frames for all: 64 tiles in
a random order, the same channel symbols, AWGN. ``ahead_db`` is how far the codec is ahead of each image codec, in the mean over
tiles of PSNR and in the PSNR of the mean squared error; the digital link needs to know the Es/N0 before it sends, the codec does
not: ``told`` is the codec that is told it all the same.
AVIF takes most of the time, 20 s a frame: ``--every 4`` measures a quarter of the frames.
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
from tqdm import tqdm

from djscc.campaign.plan import parse_ratio, resolve_data
from djscc.codec import load_codec
from djscc.codec.bench import send_frames
from djscc.digital.image_codecs import AVIF_SPEED, FORMATS, DigitalError
from djscc.digital.link import send
from djscc.digital.modcods import best_modcod
from djscc.imagery import TileSet, load_tiles

RATIOS = ("1/48", "1/24", "1/12", "1/4")
SNRS_DB = (-2, 0, 4, 8)
TILES_PER_FRAME = 64
CHOICES: dict[
    str, tuple[bool | str, bool]
] = {  # how layers are chosen by content, and whether the encoder is told the Es/N0
    "equal": (False, False),
    "told": (False, True),
    "by_content_mse": ("mse", False),
    "by_content_psnr": ("psnr", False),
}

Table = dict[str, dict[str, Any]]  # ratio, Es/N0 in dB, figures


def frames_of(tiles: TileSet, every: int = 1) -> TileSet:
    """Whole frames of 64 tiles in a random order of fixed seed, every ``every``-th of them."""
    order = np.random.default_rng(1).permutation(len(tiles))[: len(tiles) // TILES_PER_FRAME * TILES_PER_FRAME]
    if not len(order):
        raise DigitalError(f"{len(tiles)} tiles: at least {TILES_PER_FRAME} are needed for a frame")
    order = order.reshape(-1, TILES_PER_FRAME)[::every].reshape(-1)
    return TileSet(tiles.images[order], tuple(tiles.names[i] for i in order))


def figures(errors: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """Both means over the tiles' mean squared errors, in grey levels of 255."""
    error = np.maximum(np.concatenate(errors), 1e-3).astype(np.float64)
    return {
        "psnr_db": round(float((10 * np.log10(255**2 / error)).mean()), 3),
        "psnr_of_mean_mse_db": round(float(10 * np.log10(255**2 / error.mean())), 3),
    }


def measure_format(name: str, tiles: NDArray[np.uint8], avif_speed: int = AVIF_SPEED) -> Table:
    """One image codec at every point: both means and the share of the bytes that was used.

    ``outage`` says where frames failed; the means are over the others, if those are most, which flatters the link.
    """
    frames_sent = -(-len(tiles) // TILES_PER_FRAME)
    points = [(ratio, snr) for ratio in RATIOS for snr in SNRS_DB]
    numbers = [(parse_ratio(ratio), float(snr)) for ratio, snr in points]
    errors: list[list[NDArray[np.float32]]] = [[] for _ in points]
    used = np.zeros((len(points), 3), np.int64)  # bytes used, bytes carried, frames that failed
    frames = send(tiles, name, numbers, TILES_PER_FRAME, avif_speed)
    for start, frame in enumerate(tqdm(frames, total=frames_sent, desc=name, unit="frame")):
        part = tiles[start * TILES_PER_FRAME :][:TILES_PER_FRAME].astype(np.float32)
        for i, arrived in enumerate(frame):
            used[i, 2] += arrived.decoded is None
            if arrived.decoded is not None:
                used[i, :2] += arrived.used, arrived.budget
                errors[i].append(((arrived.decoded - part) ** 2).mean((1, 2, 3)))
    table: Table = {}
    for (ratio, snr), squares, (spent, carried, failed) in zip(points, errors, used, strict=True):
        entry: dict[str, Any] = {}
        if 2 * failed < frames_sent:
            entry = figures(squares) | {"used": round(spent / carried, 3)}
        if failed:
            entry["outage"] = f"{failed} of {frames_sent} frames do not fit"
        table.setdefault(ratio, {})[str(snr)] = entry
    return table


def measure_codec(name: str, tiles: TileSet, by_content: bool | str, told: bool = False) -> Table:
    """The codec at every point, over the same frames; ``told`` is whether its encoder is told the Es/N0."""
    codec = load_codec(name)
    return {
        ratio: {
            str(snr): {
                key: round(value, 3)
                for key, value in send_frames(
                    codec, tiles, codec.layers_for_ratio(parse_ratio(ratio)), snr, by_content, told
                ).items()
                if key.startswith("psnr")
            }
            for snr in SNRS_DB
        }
        for ratio in RATIOS
    }


def ahead(codec: Table, link: Table) -> Table:
    """By how many dB the codec is ahead at every point; None where the link has an outage."""
    return {
        ratio: {
            snr: {k: round(v - link[ratio][snr][k], 2) if k in link[ratio][snr] else None for k, v in entry.items()}
            for snr, entry in row.items()
        }
        for ratio, row in codec.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.digital.bench", description=__doc__)
    parser.add_argument("--data", default="landsat", help="folder of tiles (default: the shipped Landsat tiles)")
    parser.add_argument("--codec", default="adaptive", help="the codec to compare with (default: adaptive)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="measure every N-th frame (default: 1, all)")
    parser.add_argument("--avif-speed", type=int, default=AVIF_SPEED, choices=range(11), metavar="0..10")
    parser.add_argument("--keep-links", action="store_true", help="measure the codec only, keep the links of --out")
    parser.add_argument("--out", type=Path, default=Path("results/digital.json"))
    arguments = parser.parse_args()
    tiles = frames_of(load_tiles(resolve_data(arguments.data)), max(1, arguments.every))
    settings = {
        "data": f"{Path(arguments.data).stem}, {len(tiles) // TILES_PER_FRAME} frames of {TILES_PER_FRAME} tiles",
        "avif_speed": arguments.avif_speed,
    }
    if arguments.keep_links:
        kept = json.loads(arguments.out.read_text())
        if different := [k for k, v in settings.items() if kept.get(k) != v]:
            raise SystemExit(f"--keep-links: {arguments.out} was measured with other {', '.join(different)}")
        links = kept["links"]
    else:
        links = {name: measure_format(name, tiles.images, arguments.avif_speed) for name in FORMATS}
    codecs = {
        choice: measure_codec(arguments.codec, tiles, *settings_of_choice)
        for choice, settings_of_choice in CHOICES.items()
    }
    result = {
        "command": "python -m djscc.digital.bench " + " ".join(Path(a).name if "/" in a else a for a in sys.argv[1:]),
        **settings,
        "modcods": {str(snr): str(best_modcod(snr) or "outage") for snr in SNRS_DB},
        "links": links,
        "codec": codecs,
        "ahead_db": {
            f"{choice} of {name}": ahead(table, link)
            for name, link in links.items()
            for choice, table in codecs.items()
        },
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(compact_json(result) + "\n")
    print(arguments.out)
    return 0


def compact_json(value: Any, indent: int = 0) -> str:
    """JSON whose innermost mappings take one line each, so that a table reads as one."""
    if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
        inner = ",\n".join(
            f"{' ' * (indent + 1)}{json.dumps(k)}: {compact_json(v, indent + 1)}" for k, v in value.items()
        )
        return "{\n" + inner + "\n" + " " * indent + "}"
    return json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
