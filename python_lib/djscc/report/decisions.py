# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's section on a classification task: which labels are mistaken for which, where quality is worst, middling and best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from djscc.report import figures as draw
from djscc.report import page
from djscc.report.figures import Gallery
from djscc.report.runs import ratio_text, snr_text
from djscc.semantic_loss import Series
from djscc.semantic_loss.cells import snr_of


def decision_section(tiles: Sequence[Mapping[str, Any]], series: Series, gallery: Gallery) -> str:
    """Confusion matrices at three points of the plane; nothing where the log holds no decisions on labelled tiles."""
    points: dict[tuple[float, float], list[tuple[int, int]]] = defaultdict(list)
    names: dict[int, str] = {}
    for tile in tiles:
        label, decision, snr_db = tile.get("label"), tile.get("decision"), snr_of(tile)
        if label is None or decision is None or snr_db is None:
            continue
        points[round(float(tile["ratio"]), 5), round(snr_db)].append((int(label), int(decision)))
        names.setdefault(int(label), PurePosixPath(str(tile.get("name", ""))).parent.name or str(label))
    if not points:
        return ""
    classes = sorted({value for pairs in points.values() for pair in pairs for value in pair})
    ranked = sorted(points, key=lambda point: np.mean([label == decision for label, decision in points[point]]))
    chosen = dict.fromkeys(ranked[i] for i in (0, (len(ranked) - 1) // 2, len(ranked) - 1))
    panels = []
    for ratio, snr_db in chosen:
        counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        for label, decision in points[ratio, snr_db]:
            counts[classes.index(label), classes.index(decision)] += 1
        accuracy = 100 * np.trace(counts) / counts.sum()
        panels.append((f"{ratio_text(ratio)}, {snr_text(snr_db)}: {accuracy:.1f} % right", counts))
    drawing = gallery.save(
        draw.confusion(panels, [names.get(c, str(c)) for c in classes]), "confusion", series.codec, series.channel
    )
    caption = (
        "Decisions on received tiles over their labels, in per cent of each label: where accuracy is lowest, middling and highest. "
        f"{sum(len(pairs) for pairs in points.values()) // len(points)} tiles a point."
    )
    return "<h3>Decisions</h3>" + page.figure(drawing, caption, "wide")
