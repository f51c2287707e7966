# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of one or more runs: a page that needs nothing beside it, and its figures as PNG files."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from djscc.report import page
from djscc.report.decisions import decision_section
from djscc.report.figures import Gallery
from djscc.report.loss_model import model_section, relation_section
from djscc.report.overview import heading, overview, provenance
from djscc.report.pictures import examples, images
from djscc.report.receiver import receiver_section
from djscc.report.runs import ReportError, Run, capitalised, load_runs
from djscc.report.sections import comparison_section, picture_section, quality_section
from djscc.semantic_loss import fit_run_logs, split_series
from djscc.semantic_loss.cells import series_of


def write_report(run_folders: Iterable[str | Path], out_folder: str | Path) -> Path:
    """Write ``index.html`` (self-contained) and PNG figures to ``out_folder``; returns the path of the page.

    Codecs and channels found in the runs get a section each. What a run lacks (pictures, a metric, enough points for a fit) is
    left out and said on the page. Raises RunError or ReportError for folders that hold no run.
    """
    return build_report(load_runs(run_folders), out_folder)


def build_report(runs: list[Run], out_folder: str | Path) -> Path:
    """The report of runs that are already loaded; see :func:`write_report`."""
    out = Path(out_folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportError(f"{out}: cannot be made ({error.strerror}); choose another --out folder") from error
    gallery = Gallery(out)
    tiles = [tile for run in runs for tile in run.tiles]
    report = fit_run_logs(tiles)
    found = report.of_series()
    fits = {series: found.get(series, []) for series in split_series(tiles)}
    parts = [heading(runs, fits, report), overview(runs, fits), model_section(report, gallery)]
    for number, (series, metric_fits) in enumerate(fits.items()):
        tiles_of = [[tile for tile in run.tiles if series_of(tile) == series] for run in runs]
        parts.append(f'<h2 id="series-{number}">{escape(capitalised(str(series)))}</h2>')
        parts.append(picture_section(examples(runs, tiles_of), images(runs, tiles_of), series, gallery))
        parts.append(quality_section(metric_fits, series, gallery))
        parts.append(relation_section(metric_fits, report.relations.get(series, []), gallery))
        parts.append(decision_section([tile for tiles in tiles_of for tile in tiles], series, gallery))
        parts.append(receiver_section(runs, series, gallery))
    if len(fits) > 1:
        parts.append(comparison_section(fits, gallery))
    parts.append(provenance(runs, gallery.files))
    index = out / "index.html"
    temporary = out / "index.html.tmp"
    temporary.write_text(page.document("gr-djscc: what was received", "\n".join(parts)), encoding="utf-8")
    return temporary.replace(index)
