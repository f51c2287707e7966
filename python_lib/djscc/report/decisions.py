# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's section on classification tasks: which classes are mistaken for which, where quality is worst, middling and best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from djscc.report import figures as draw
from djscc.report import page
from djscc.report.figures import Gallery
from djscc.report.pictures import place_of
from djscc.report.runs import count_text, ratio_text, snr_text
from djscc.semantic_loss import Series


def decision_section(tiles: Sequence[Mapping[str, Any]], series: Series, gallery: Gallery) -> str:
    """For each task, confusion matrices at three points of the plane; nothing where the log holds no decisions."""
    tasks = list(dict.fromkeys(name for tile in tiles for name in tile.get("tasks") or ()))
    sections = [_matrices(tiles, task, len(tasks) > 1, series, gallery) for task in tasks]
    return "<h3>Decisions</h3>" + "".join(sections) if any(sections) else ""


def _matrices(tiles: Sequence[Mapping[str, Any]], task: str, several: bool, series: Series, gallery: Gallery) -> str:
    """Decisions on received tiles over their labels, or, where no tile has one, over the decisions on the originals."""
    points: dict[str, dict[tuple[float, float], list[tuple[str, str]]]] = {
        "label": defaultdict(list),
        "original": defaultdict(list),
    }
    for tile in tiles:
        entry, place = (tile.get("tasks") or {}).get(task, {}), place_of(tile)
        if place is not None and tile.get("elevation_deg") is not None:  # over a pass each frame has its own SNR
            place = place[0], float(round(place[1]))
        for key, of_key in points.items():
            if entry.get(key) is not None and entry.get("decision") is not None and place is not None:
                of_key[place].append((entry[key], entry["decision"]))
    key = "label" if points["label"] else "original"
    chosen_from = points[key]
    if not chosen_from:
        return ""
    classes = sorted({value for pairs in chosen_from.values() for pair in pairs for value in pair})
    ranked = sorted(
        chosen_from, key=lambda point: np.mean([right == decision for right, decision in chosen_from[point]])
    )
    panels = []
    for point in dict.fromkeys(ranked[i] for i in (0, (len(ranked) - 1) // 2, len(ranked) - 1)):
        counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        for right, decision in chosen_from[point]:
            counts[classes.index(right), classes.index(decision)] += 1
        share = 100 * np.trace(counts) / counts.sum()
        word = "right" if key == "label" else "as on the originals"
        panels.append((f"{ratio_text(point[0])}, {snr_text(point[1])}: {share:.1f} % {word}", counts))
    drawing = gallery.save(
        draw.confusion(panels, classes, key if key == "label" else "decision on the original"),
        f"confusion_{task}" if several else "confusion",
        series.codec,
        series.channel,
    )
    counts_of_tiles = sorted(map(len, chosen_from.values()))
    least, most = counts_of_tiles[0], counts_of_tiles[-1]
    tiles_text = count_text(most, "tile") if least == most else f"{least:,} to {most:,} tiles"
    over = "labels" if key == "label" else "decisions on the originals"
    caption = (
        f"{task}. Decisions on received tiles over their {over}, in per cent of each row: where the share on the "
        f"diagonal is lowest, middling and highest. {tiles_text} a point."
    )
    return page.figure(drawing, caption, "wide")
