# SPDX-License-Identifier: GPL-3.0-or-later
"""A fit report as text: every form's error for every metric, the chosen form's parameters, what one metric says of another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from djscc.semantic_loss.forms import FORMS
from djscc.semantic_loss.relation import Relation
from djscc.semantic_loss.selection import FitReport, MetricFit


def report_text(report: FitReport) -> str:
    """The whole report, codec by codec and channel by channel."""
    lines = []
    for series, fits in report.of_series().items():
        lines += ["", *_forms(str(series), fits, report)]
        for fit in fits:
            lines += _model(fit)
        lines += _relations(report.relations.get(series, ()), [fit.metric for fit in fits])
        lines += _notes(fits)
    if report.unified is not None:
        form = FORMS[report.unified]
        lines += ["", f"One form for all of it: {form.title}", f"  L = {form.formula}"]
    return "\n".join(lines[1:])


def _column(text: str, metric: str) -> str:
    """A metric's column, wide enough for its name."""
    return text.rjust(max(16, len(metric) + 2))


def percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2f}"


def r2_text(value: float) -> str:
    """A coefficient of determination with four digits; a dash where it is not known."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def _forms(series: str, fits: Sequence[MetricFit], report: FitReport) -> Iterator[str]:
    """Rows of forms, columns of metrics: R2 and MAPE in per cent at points left out of the fit."""
    tiles = max(len(fit.cells.sums) for fit in fits)
    points = max(len(fit.cells) for fit in fits)
    yield f"{series}: {points} points of up to {tiles} tiles; R2 and MAPE (%) of predictions at points left out of the fit"
    yield (
        f"  {'form':<26}"
        + "".join(_column(f.metric, f.metric) for f in fits)
        + f"{'all':>8}" * (len(report.scores) > 0)
    )
    for form in (fit.form for fit in fits[0].fits):
        row = ""
        for fit in fits:
            found = fit.of_form(form.name)
            if found is None or found.held_out is None:
                row += _column("refused", fit.metric)
                continue
            mark = "." if found is fit.best and len(fits) > 1 else " "
            row += _column(f"{r2_text(found.held_out.r2)}{percent(found.held_out.mape):>6}{mark}", fit.metric)
        score = f"{report.scores[form.name]:8.2f}" if form.name in report.scores else ""
        chosen = form.name in (report.unified, *(fit.model.form.name for fit in fits if fit.model))
        yield f"{'*' if chosen else ' '} {form.name:<26}{row}{score}".rstrip()
    legend = "  * chosen"
    if len(fits) > 1 or report.scores:
        legend += "; . best of that metric alone; all: geometric mean of weighted errors relative to the best form's"
    yield legend


def _model(fit: MetricFit) -> Iterator[str]:
    """The chosen form with its parameters and their 95 % intervals."""
    if fit.model is None:
        return
    model, intervals = fit.model, fit.model.parameter_intervals()
    yield f"{fit.metric}: {fit.loss.definition}"
    yield f"  L = {model.form.formula}"
    values = []
    for name, value in zip(model.form.names, model.parameters, strict=True):
        bounds = f" [{intervals[name][0]:.3g}, {intervals[name][1]:.3g}]" if name in intervals else ""
        values.append(f"{name} = {value:.4g}{bounds}")
    yield "  " + ", ".join(values)
    yield (
        f"  fitted: R2 {r2_text(model.quality.r2)}, RMSE {model.quality.rmse:.3g}, MAPE {percent(model.quality.mape)} %; "
        f"held out: R2 {r2_text(model.held_out.r2)}, RMSE {model.held_out.rmse:.3g}, MAPE {percent(model.held_out.mape)} %"
    )


def _relations(found: Sequence[Relation], metrics: Sequence[str]) -> Iterator[str]:
    """How well the mean loss of the metric in a row tells that of the one in a column, whatever the ratio and SNR."""
    if not found:
        return
    pairs = {(relation.source, relation.target): relation for relation in found}
    yield "What one metric says of another: R2 and MAPE (%), at points left out, of the column's loss told by the row's"
    yield f"  {'told by':<26}" + "".join(_column(metric, metric) for metric in metrics)
    for source in metrics:
        row = ""
        for target in metrics:
            relation = pairs.get((source, target))
            figures = (
                "" if relation is None else f"{r2_text(relation.held_out.r2)}{percent(relation.held_out.mape):>6} "
            )
            row += _column(figures, target)
        yield f"  {source:<26}{row}".rstrip()


def _notes(fits: Sequence[MetricFit]) -> Iterator[str]:
    """Warnings, each once with the metrics that it is about."""
    about: dict[str, list[str]] = {}
    for fit in fits:
        for warning in fit.warnings:
            about.setdefault(warning, []).append(fit.metric)
    for warning, metrics in about.items():
        which = "" if len(metrics) == len(fits) else f" ({', '.join(metrics)})"
        yield f"note{which}: {warning}"
