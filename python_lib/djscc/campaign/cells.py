# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as a small table, to publish instead of its log: every metric's mean, standard error and number of tiles at every point.

``python -m djscc.campaign.cells RUN --out FOLDER`` writes ``cells.csv`` and ``run.json`` (settings, versions, speed).
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from djscc.campaign.runlog import RunLog
from djscc.errors import DjsccError
from djscc.semantic_loss import FitError, collect, loss_of_metric, split_series
from djscc.semantic_loss.losses import metrics_of

COLUMNS = ("codec", "channel", "ratio", "snr_db", "metric", "mean", "standard_error", "tiles")


def rows(tiles: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Rows of ``COLUMNS`` from flat per-tile records; what a record lacks makes no row. The error is that over tiles."""
    out = []
    for series, of_series in split_series(tiles).items():
        for metric in metrics_of(of_series):
            loss = loss_of_metric(metric)
            try:
                cells = collect(of_series, loss)
            except FitError:
                continue  # no tile holds it
            scale = abs(loss.value(1.0) - loss.value(0.0))
            for i in range(len(cells)):
                error = float(cells.standard_error[i]) * scale
                mean = loss.value(float(cells.loss[i]))
                out.append(
                    (
                        series.codec,
                        series.channel,
                        round(float(cells.ratio[i]), 6),
                        round(float(cells.snr_db[i]), 3),
                        metric,
                        float(f"{mean:.7g}"),
                        float(f"{error:.3g}") if np.isfinite(error) else "",
                        int(cells.tiles[i]),
                    )
                )
    return out


def write(run: Path, folder: Path) -> Path:
    """Write both files; returns the table's path."""
    log = RunLog(run, must_exist=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows(log.tiles()))
    folder.mkdir(parents=True, exist_ok=True)
    settings = log.settings()
    data = settings.get("settings", {}).get("data")
    if data is not None:  # its name, and not where it lies on this machine
        settings["settings"]["data"] = Path(data).name
    provenance = {"command": f"djscc campaign {settings.get('settings', {}).get('name', '')}", **settings}
    (folder / "run.json").write_text(
        json.dumps(provenance | {"sessions": log.sessions()}, indent=1, default=str) + "\n"
    )
    table = folder / "cells.csv"
    table.write_text(text.getvalue())
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.campaign.cells", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to write")
    arguments = parser.parse_args()
    try:
        print(write(arguments.run, arguments.out))
    except (DjsccError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
