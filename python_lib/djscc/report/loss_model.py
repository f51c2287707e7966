# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's page of the unified semantic loss: one form for every metric, every form's errors beside it, and what one metric
says of another."""

from __future__ import annotations

from collections.abc import Sequence

from djscc.report import figures as draw
from djscc.report import page
from djscc.report.figures import Gallery
from djscc.report.runs import capitalised, percent_text
from djscc.semantic_loss import FORMS, FitReport, MetricFit, Relation, Series
from djscc.semantic_loss.tables import r2_text

MOST_PANELS = 6
FIRST = ("mse", "ssim", "lpips", "task_loss", "psnr", "accuracy", "ms_ssim", "agreement")
TASKS = (
    "accuracy",
    "agreement",
)  # what is worth telling from a metric of the picture; the second where there are no labels
TOLD_BY = ("psnr", "lpips")


def model_section(report: FitReport, gallery: Gallery) -> str:
    """The one form for all that was fitted together; nothing where only one metric of one series was."""
    if report.unified is None:
        return ""
    form = FORMS[report.unified]
    text = (
        f"One form was fitted to every metric of every codec and channel: {form.title}. r is the ratio k/n, g the SNR (Es/N0) in "
        "dB, s = 10^(g/10). It was chosen by its error at points of the plane that were left out of the fit."
    )
    parts = ['<h2 id="model">The semantic loss</h2>', page.paragraph(text)]
    parts.append(page.equation(draw.equation(form.latex), form.formula))
    for series, fits in report.of_series().items():
        fitted = [fit for fit in fits if fit.model is not None]
        if not fitted:
            continue
        drawing = gallery.save(draw.semantic_loss(shown(fitted)), "semantic_loss", series.codec, series.channel)
        caption = (
            f"{capitalised(str(series))}: losses of received tiles, means with 95 % intervals, and the one form fitted to each. "
            "Above each panel, its error at points left out of the fit."
        )
        parts += [page.figure(drawing, caption, "wide"), _forms_table(report, series, fitted)]
    return "".join(parts)


def _base(fit: MetricFit) -> str:
    """The metric without the name of a task."""
    return fit.metric.partition(":")[0]


def shown(fits: Sequence[MetricFit]) -> list[MetricFit]:
    """Up to six metrics of the picture and the task, those of the first task where there are several."""
    of_base: dict[str, MetricFit] = {}
    for fit in fits:
        of_base.setdefault(_base(fit), fit)
    return [of_base[base] for base in FIRST if base in of_base][:MOST_PANELS]


def _heads(fits: Sequence[MetricFit]) -> list[str]:
    """Names of the losses as heads of columns, the long ones in two lines."""
    labels = (fit.loss.loss_label.replace(" / ", "\n/ ").replace(" of ", "\nof ") for fit in fits)
    return [label.replace("\N{MINUS SIGN} ", "\N{MINUS SIGN}\n", 1) if len(label) > 10 else label for label in labels]


def _forms_table(report: FitReport, series: Series, fits: Sequence[MetricFit]) -> str:
    """Errors at points left out: forms in rows, metrics in columns."""
    rows = []
    names = [form_fit.form.name for form_fit in fits[0].fits]
    for name in names:
        row = [f"{FORMS[name].title} ({len(FORMS[name].parameters)})"]
        for fit in fits:
            found = fit.of_form(name)
            if found is None or found.held_out is None:
                row.append("not fitted")
                continue
            row.append(f"{r2_text(found.held_out.r2)}\n{percent_text(found.held_out.mape)}" + "*" * (found is fit.best))
        score = report.scores.get(name)
        rows.append([*row, "-" if score is None else f"{score:.2f}"])
    chosen = names.index(report.unified) if report.unified in names else None
    head = ["form (parameters)", *_heads(fits), "all\ntogether"]
    text = (
        f"{capitalised(str(series))}: R\N{SUPERSCRIPT TWO} and mean absolute error (as a share of the loss) of each form at points "
        "left out of the fit. Bold: the form that suits that metric best by its weighted error. \u201cAll together\u201d, over all "
        "codecs, channels and metrics: geometric mean of weighted errors relative to the best form of each; the least is chosen "
        "(marked)."
    )
    return page.table(head, rows, chosen) + page.paragraph(text, "note")


def relation_section(fits: Sequence[MetricFit], found: Sequence[Relation], gallery: Gallery) -> str:
    """How well each metric's loss tells each other's, the task's over PSNR and LPIPS as pictures; nothing where too few points hold
    two metrics."""
    if not found:
        return ""
    pairs = {(relation.source, relation.target): relation for relation in found}
    by_metric = {fit.metric: fit for fit in fits}
    drawings = []
    bases = {_base(fit) for fit in fits}
    wanted = next((base for base in TASKS if base in bases), None)
    for target in [fit.metric for fit in fits if _base(fit) == wanted]:
        for source in TOLD_BY:
            relation = pairs.get((source, target))
            if relation is None:
                continue
            drawing = draw.relation(by_metric[source], by_metric[target], relation)
            names = source, target, fits[0].series.codec, fits[0].series.channel
            caption = (
                f"{capitalised(by_metric[target].loss.label)} told by {by_metric[source].loss.label} alone: R\N{SUPERSCRIPT TWO} "
                f"{r2_text(relation.held_out.r2)} and {percent_text(relation.held_out.mape)} of the loss at points left out. Where "
                "ratios part from the curve, the ratio says more than the metric does."
            )
            drawings.append(page.figure(gallery.save(drawing, "relation", *names), caption))
    rows = []
    for source_fit in fits:
        row = [source_fit.loss.loss_label]
        for target_fit in fits:
            relation = pairs.get((source_fit.metric, target_fit.metric))
            row.append(
                "" if relation is None else f"{r2_text(relation.held_out.r2)}\n{percent_text(relation.held_out.mape)}"
            )
        rows.append(row)
    text = (
        "How well the mean loss of one metric (row) tells that of another (column), whatever the ratio and SNR: "
        "R\N{SUPERSCRIPT TWO} and mean absolute error, as a share of the loss, of a rising curve through all points but those "
        "that it is judged on."
    )
    head = ["told by", *_heads(fits)]
    shown = page.figures(drawings) if drawings else ""
    return "<h3>What one metric says of another</h3>" + page.paragraph(text) + page.table(head, rows) + shown
