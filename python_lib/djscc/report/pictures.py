# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sent and received pictures a report shows, and where each stands on the plane of ratio and SNR."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from djscc.report.runs import Run
from djscc.semantic_loss.cells import snr_of

MOST_COLUMNS = 7  # what fits a page 1280 pixels wide


@dataclass(frozen=True)
class Cell:
    """One received picture: its file where there is one, else why there is none, and its record."""

    path: Path | None
    missing: str
    tile: Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """One tile over the plane: ``cells[(ratio, snr)]``, the picture that was sent, and how the tile was chosen."""

    choice: str
    name: str
    sent: Path | None
    ratios: tuple[float, ...]
    snrs: tuple[float, ...]
    cells: dict[tuple[float, float], Cell]
    snrs_left_out: int


def place_of(tile: Mapping[str, Any]) -> tuple[float, float] | None:
    """Ratio and SNR of a tile's point, estimated SNRs to the nearest dB; None where either is not known."""
    ratio, snr = tile.get("ratio"), snr_of(tile)
    if ratio is None or snr is None:
        return None
    return round(float(ratio), 5), round(snr, 3) if tile.get("snr_db") is not None else float(round(snr))


def _choices(difficulty: Mapping[Any, Sequence[float]], candidates: Sequence[Any]) -> list[tuple[str, Any]]:
    """A typical, a hard and an easy tile by their mean PSNR over all points; the first where nothing was measured."""
    measured = sorted((float(np.mean(difficulty[key])), key) for key in candidates if difficulty.get(key))
    if not measured:
        return [("the first tile", candidates[0])]
    ranks = (
        ("a typical tile (median PSNR)", 0.5),
        ("a hard tile (lowest tenth by PSNR)", 0.1),
        ("an easy tile (highest tenth by PSNR)", 0.9),
    )
    chosen: dict[Any, str] = {}
    for text, rank in ranks:
        chosen.setdefault(measured[round(rank * (len(measured) - 1))][1], text)
    return [(text, key) for key, text in chosen.items()]


def examples(runs: Sequence[Run], tiles_of: Sequence[Sequence[Mapping[str, Any]]]) -> list[Example]:
    """Up to three tiles of one series over the plane. ``tiles_of`` are the series' tile records of each run.

    Only tiles with a received picture in some run are candidates; an empty list where no picture was kept.
    """
    records: dict[tuple[Any, int], list[tuple[Run, Mapping[str, Any]]]] = defaultdict(list)
    difficulty: dict[tuple[Any, int], list[float]] = defaultdict(list)
    candidates: dict[tuple[Any, int], None] = {}
    for run, tiles in zip(runs, tiles_of, strict=True):
        for tile in tiles:
            key = tile.get("scene_id"), int(tile["index"])
            records[key].append((run, tile))
            if tile.get("psnr_db") is not None:
                difficulty[key].append(float(tile["psnr_db"]))
            if key not in candidates and tile.get("received", True) and run.received_picture(tile).is_file():
                candidates[key] = None
    if not candidates:
        return []
    return [_example(text, records[key]) for text, key in _choices(difficulty, list(candidates))]


def images(runs: Sequence[Run], tiles_of: Sequence[Sequence[Mapping[str, Any]]], most: int = 4) -> list[Path]:
    """Up to ``most`` of the images that a series' tiles were put together to, where whole images were sent."""
    paths = {run.received_image(tile): None for run, tiles in zip(runs, tiles_of, strict=True) for tile in tiles}
    return [path for path in paths if path.is_file()][:most]


def _example(choice: str, records: Sequence[tuple[Run, Mapping[str, Any]]]) -> Example:
    cells: dict[tuple[float, float], Cell] = {}
    for run, tile in records:
        place = place_of(tile)
        if place is None or (place in cells and cells[place].path is not None):
            continue
        path = run.received_picture(tile)
        if not tile.get("received", True):
            cells[place] = Cell(None, "frame lost", tile)
        elif tile.get("refused"):
            cells[place] = Cell(None, "not decoded", tile)
        elif path.is_file():
            cells[place] = Cell(path, "", tile)
        else:
            cells[place] = Cell(None, "no picture kept", tile)
    run, tile = records[0]
    sent = run.sent_picture(int(tile["index"]))
    snrs = sorted({snr for _, snr in cells})
    shown = [snrs[i] for i in np.linspace(0, len(snrs) - 1, min(len(snrs), MOST_COLUMNS)).round().astype(int)]
    return Example(
        choice,
        str(tile.get("name") or f"tile {tile['index']}"),
        sent if sent.is_file() else None,
        tuple(sorted({ratio for ratio, _ in cells})),
        tuple(shown),
        cells,
        len(snrs) - len(shown),
    )
