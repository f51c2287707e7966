# SPDX-License-Identifier: GPL-3.0-or-later
"""Single figures of a run as picture files: a scene as sent and received, a satellite pass, the fitted loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from djscc.campaign.plan import parse_ratio
from djscc.campaign.runlog import RunLog
from djscc.errors import writing_picture
from djscc.report.figures import STYLE, semantic_loss
from djscc.report.loss_model import shown
from djscc.report.runs import ReportError, load_runs
from djscc.report.satellite_pass import satellite_pass
from djscc.report.scene import scene
from djscc.semantic_loss import fit_run_logs, split_series

KINDS = ("scene", "pass", "loss")
POINTS = ("1/12:-5", "1/12:5", "1/12:15")


def write_figure(
    kind: str,
    runs: Sequence[str | Path],
    out: str | Path,
    points: Sequence[str] | None = None,
    series: str | None = None,
) -> Path:
    """Draw one figure into a picture file; returns its path.

    ``kind`` is one of ``KINDS``; ``points`` are what a scene is shown at, as RATIO:DB; ``series`` names the codec over the channel
    (``adaptive over awgn``) whose loss is drawn, where runs hold several. Raises ReportError for what the runs do not hold.
    """
    if kind == "loss":
        figure = _loss(runs, series)
    elif len(runs) != 1:
        raise ReportError(f"--figure {kind} is of one run, {len(runs)} were given")
    elif kind == "scene":
        figure = scene(RunLog(runs[0], must_exist=True), [_point(text) for text in points or POINTS])
    else:
        figure = satellite_pass(RunLog(runs[0], must_exist=True))
    out = Path(out)
    with writing_picture(out, ReportError), matplotlib.rc_context(STYLE):
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=140, facecolor="white")
    return out


def _point(text: str) -> tuple[float, float]:
    ratio, _, snr = text.partition(":")
    try:
        return parse_ratio(ratio), float(snr)
    except ValueError as error:
        raise ReportError(f"--points {text!r}: write it as RATIO:DB, such as 1/12:5") from error


def _loss(runs: Sequence[str | Path], series: str | None) -> Figure:
    tiles = [tile for run in load_runs(runs) for tile in run.tiles]
    groups = {str(key): key for key in split_series(tiles)}
    if series is None and len(groups) == 1:
        series = next(iter(groups))
    if series not in groups:
        raise ReportError(f"--series {series!r}: the runs hold {', '.join(map(repr, groups))}; name one of these")
    fits = fit_run_logs(tiles).of_series().get(groups[series], [])  # all, for the one form that serves them all
    if not fits:
        raise ReportError(f"{series}: the log holds no metric at a known ratio and SNR")
    return semantic_loss(shown(fits))
