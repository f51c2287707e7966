# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's beginning, which says in a few sentences what happened, and its end, which says where that came from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np
import yaml

from djscc import __version__
from djscc.report import page
from djscc.report.runs import Run, arrived_text, capitalised, count_text, ratio_text
from djscc.semantic_loss import FitReport, MetricFit, Series

Fits = Mapping[Series, Sequence[MetricFit]]


def heading(runs: Sequence[Run], fits: Fits, report: FitReport) -> str:
    names = ", ".join(run.folder.resolve().name for run in runs)
    title = "What was sent, what arrived, what it is worth"
    parts = [f'<p class="over">gr-djscc report · {escape(names)}</p><h1>{title}</h1>']
    links = [("model", "The semantic loss")] if report.unified else []
    links += [(f"series-{i}", capitalised(str(series))) for i, series in enumerate(fits)]
    if len(fits) > 1:
        links.append(("comparison", "Side by side"))
    links.append(("provenance", "Where this comes from"))
    parts.append("<nav>" + "".join(f'<a href="#{key}">{escape(text)}</a>' for key, text in links) + "</nav>")
    return "".join(parts)


def overview(runs: Sequence[Run], fits: Fits) -> str:
    """A few sentences for each series: how much was sent, how much arrived, the range of quality, how well a model fits."""
    frames = [record for run in runs for record in run.records]
    received = sum(bool(record.get("received")) for record in frames)
    tiles = len({(tile.get("scene_id"), tile["index"]) for run in runs for tile in run.tiles})
    ratios = sorted({round(record["ratio"], 5) for record in frames})
    snrs = sorted({record["snr_db"] for record in frames if record.get("snr_db") is not None})
    text = f"{count_text(tiles, 'image tile').capitalize()} sent at {count_text(len(ratios), 'ratio')} "
    text += f"({', '.join(map(ratio_text, ratios))})"
    if snrs:
        text += f" and {count_text(len(snrs), 'SNR')} from {snrs[0]:g} to {snrs[-1]:g} dB".replace(
            "-", "\N{MINUS SIGN}"
        )
    text += f". {arrived_text(runs, received, len(frames))}"
    parts = [page.paragraph(text, "lead")]
    for series, metric_fits in fits.items():
        if metric_fits:
            parts.append(page.paragraph(_sentence(series, metric_fits)))
    return "".join(parts)


def _sentence(series: Series, fits: Sequence[MetricFit]) -> str:
    first = fits[0]
    cells = first.cells
    worst, best = int(np.argmax(cells.loss)), int(np.argmin(cells.loss))

    def where(i: int) -> str:
        snr = f"{cells.snr_db[i]:.3g} dB".replace("-", "\N{MINUS SIGN}")
        return f"{first.loss.value(float(cells.loss[i])):.4g} at ratio {ratio_text(cells.ratio[i])} and {snr}"

    text = f"{capitalised(str(series))}: mean {first.loss.label} from {where(worst)} to {where(best)}."
    models = [fit for fit in fits if fit.model is not None]
    if models:
        known = [(fit.loss.label, fit.model.held_out.mape) for fit in models if fit.model]
        errors = ", ".join(f"{label} {100 * mape:.1f} %" for label, mape in known if not math.isnan(mape))
        if errors:
            text += f" Mean error of the fitted loss at points that were left out of the fit: {errors}."
    else:
        text += " The log does not hold enough points of the plane to fit a model of the loss."
    return text


def provenance(runs: Sequence[Run], files: Sequence[str]) -> str:
    """Settings, versions and files."""
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    parts = [
        '<h2 id="provenance">Where this comes from</h2>',
        page.paragraph(f"Made by djscc {__version__} on {made}."),
    ]
    rows = []
    for run in runs:
        codecs = sorted({f"{r.get('codec') or '?'} {r['codec_id']}" for r in run.records if r.get("codec_id")})
        times = sorted(str(r["time"]) for r in run.records if r.get("time"))
        span = f"{times[0][:19]} to {times[-1][:19]}" if times else "-"
        rows.append(
            [run.folder.resolve().name, str(len(run.records)), str(len(run.tiles)), span, ", ".join(codecs) or "-"]
        )
    parts.append(page.table(["run", "frames", "tile records", "time (UTC)", "codec and id"], rows, text=[4]))
    for run in runs:
        if run.settings:
            text = yaml.safe_dump(run.settings, sort_keys=False, allow_unicode=True)
            parts.append(
                page.details(f"run.yaml of {run.folder.resolve().name}", f"<pre>{escape(text)}</pre>", len(runs) == 1)
            )
        else:
            parts.append(page.paragraph(f"{run.folder.resolve().name} has no run.yaml: its settings are not known."))
    parts.append(page.paragraph(f"Figures as PNG beside this page: {', '.join(files) or 'none'}.", "note"))
    return "".join(parts)
