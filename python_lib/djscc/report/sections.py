# SPDX-License-Identifier: GPL-3.0-or-later
"""Sections of the report: one codec over one channel (pictures over the plane, quality, fits), and several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from djscc.report import figures as draw
from djscc.report import page
from djscc.report.figures import Gallery
from djscc.report.pictures import Example
from djscc.report.runs import capitalised, count_text, number_text, percent_text, ratio_text, snr_text
from djscc.semantic_loss import MetricFit, Series
from djscc.semantic_loss.tables import r2_text

IMAGE_SIDE = 800  # pixels at most of a whole image in the page
SYMBOLS = {
    "alpha": "\u03b1",
    "beta": "\u03b2",
    "delta": "\u03b4",
    "epsilon": "\u03b5",
    "r0": "r\u2080",
    "g0": "g\u2080",
}  # as in the equation


# --- pictures -------------------------------------------------------------------------------------------------------------------


def _caption(tile: Mapping[str, object]) -> str:
    parts = []
    psnr, erased = tile.get("psnr_db"), tile.get("erased")
    if isinstance(psnr, float | int):
        parts.append(f"{psnr:.1f} dB")
    if isinstance(erased, float | int) and erased > 0.0005:
        parts.append(f"{100 * erased:.1f} % erased")
    return ", ".join(parts)


def _pictures_table(example: Example) -> str:
    head = "".join(f"<th>{snr_text(snr)}</th>" for snr in example.snrs)
    rows = []
    for ratio in reversed(example.ratios):
        cells = []
        for snr in example.snrs:
            cell = example.cells.get((ratio, snr))
            if cell is None:
                cells.append(f"<td>{page.picture(None, 'not sent', '')}</td>")
                continue
            description = f"received at ratio {ratio_text(ratio)} and {snr:g} dB"
            text = escape(_caption(cell.tile)) or "&nbsp;"
            cells.append(
                f'<td>{page.picture(cell.path, cell.missing, description)}<span class="value">{text}</span></td>'
            )
        rows.append(f"<tr><th>{ratio_text(ratio)}</th>{''.join(cells)}</tr>")
    sent = (
        f'<div class="sent">{page.picture(example.sent, "original not kept", "the tile that was sent")}'
        f"<strong>Sent</strong><br>{escape(example.name)}<br>{escape(example.choice)}</div>"
    )
    table = f'<table class="pictures"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="example">{sent}<div class="scroll">{table}</div></div>'


def _sheet(example: Example) -> Figure:
    def load(ratio: float, snr: float) -> draw.Picture:
        cell = example.cells.get((ratio, snr))
        if cell is None:
            return "not sent"
        return cell.missing if cell.path is None else np.asarray(Image.open(cell.path).convert("RGB"))

    rows = list(reversed(example.ratios))
    sent: draw.Picture = "original\nnot kept"
    if example.sent is not None:
        sent = np.asarray(Image.open(example.sent).convert("RGB"))
    pictures = [[sent if i == 0 else "", *(load(ratio, snr) for snr in example.snrs)] for i, ratio in enumerate(rows)]
    return draw.contact_sheet([ratio_text(r) for r in rows], ["sent", *map(snr_text, example.snrs)], pictures)


def picture_section(chosen: Sequence[Example], whole: Sequence[Path], series: Series, gallery: Gallery) -> str:
    """Sent and received tiles over the plane, or the received images where ``whole`` ones were sent; else a sentence."""
    if not chosen and whole:
        note = (
            "Whole images as received; the run folder has them at full size. A chequer stands for what did not arrive."
        )
        shown = [page.image(path, IMAGE_SIDE, path.stem) for path in whole]
        return "<h3>Pictures</h3>" + page.paragraph(note, "note") + page.figures(shown)
    if not chosen:
        return "<h3>Pictures</h3>" + page.paragraph("The run kept no pictures of received tiles (setting: pictures).")
    first, *others = chosen
    gallery.save(_sheet(first), "pictures", series.codec, series.channel)
    note = (
        "Rows: ratio k/n, complex channel symbols per source sample. Columns: Es/N0. Below each tile its PSNR. "
        "Tiles are enlarged without smoothing; frames that were lost are hatched."
    )
    if first.snrs_left_out:
        note += f" {count_text(first.snrs_left_out, 'SNR')} in between not shown."
    parts = ["<h3>Pictures</h3>", page.paragraph(note, "note"), _pictures_table(first)]
    parts += [page.details(f"The same for {e.choice}", _pictures_table(e)) for e in others]
    return "".join(parts)


# --- quality and fits -----------------------------------------------------------------------------------------------------------


def _forms_table(fit: MetricFit) -> str:
    """Every form with its errors, and beneath it what kept some from being fitted or told."""
    head = ["form", "parameters", "MAPE, held out", "RMSE, held out", "R², held out", "MAPE, fitted", "R², fitted"]
    rows, remarks = [], []
    for form_fit in fit.fits:
        row = [form_fit.form.title, str(len(form_fit.form.parameters))]
        if form_fit.quality is None or form_fit.held_out is None:
            row += ["not fitted"] + [""] * 4
            remarks.append(f"Not fitted: {form_fit.form.title}, which {form_fit.refused}.")
        else:
            row += [
                percent_text(form_fit.held_out.mape),
                number_text(form_fit.held_out.rmse),
                r2_text(form_fit.held_out.r2),
            ]
            row += [percent_text(form_fit.quality.mape), r2_text(form_fit.quality.r2)]
            remarks += [f"At a bound: {form_fit.form.title}, {bound}." for bound in form_fit.at_bound]
        rows.append(row)
    chosen = None if fit.selected is None else fit.fits.index(fit.selected)
    note = page.paragraph(" ".join(remarks), "note") if remarks else ""
    return page.table(head, rows, chosen) + note


def _fit_details(fit: MetricFit, series: Series, gallery: Gallery) -> str:
    chosen = fit.selected
    parts = [page.warnings(fit.warnings)]
    if fit.model is not None and chosen is not None:
        left = [page.paragraph(_choice(fit))]
        left.append(page.equation(draw.equation(chosen.form.latex), chosen.form.formula))
        intervals = fit.model.parameter_intervals()
        rows = []
        for parameter, value in zip(chosen.form.parameters, fit.model.parameters, strict=True):
            bounds = intervals.get(parameter.name)
            text = "-" if bounds is None else f"{number_text(bounds[0])} to {number_text(bounds[1])}"
            rows.append([SYMBOLS.get(parameter.name, parameter.name), number_text(value), text, parameter.meaning])
        left.append(page.table(["parameter", "value", "95 % interval", "meaning"], rows, text=[3]))
        parts.append("".join(left))
    parts.append(_forms_table(fit))
    return "".join(parts)


def _choice(fit: MetricFit) -> str:
    """Which form stands here, and whether another would suit this metric better."""
    chosen, best = fit.selected, fit.best
    assert chosen is not None and best is not None and best.held_out is not None and chosen.held_out is not None
    if best is chosen:
        return f"Selected by held-out error: {chosen.form.title} ({chosen.form.source})."
    return (
        f"The one form for all metrics: {chosen.form.title} ({chosen.form.source}). For this metric alone {best.form.title} is "
        f"best, with a MAPE of {percent_text(best.held_out.mape)} instead of {percent_text(chosen.held_out.mape)}."
    )


def _metric(fit: MetricFit, series: Series, gallery: Gallery, is_open: bool) -> str:
    names = fit.metric, series.codec, series.channel
    tiles = int(fit.cells.tiles.max())
    curves = "lines, the fitted surface with its 95 % band" if fit.model else "no surface could be fitted"
    over = (
        f"Points: means over {count_text(tiles, 'tile')} with 95 % intervals; {curves}. Labels at the right: ratio k/n."
    )
    on_plane = (
        "Colour: the fitted surface; dots: measured means in the same colours. Where a dot stands out, the surface is off."
        if fit.model
        else "Dots: measured means."
    )
    drawings = [page.figure(gallery.save(draw.quality_over_snr(fit), "quality", *names), over)]
    if len(np.unique(fit.cells.ratio)) > 1:
        across = "The same over the ratio k/n, for up to six SNRs (labels at the right)."
        drawings.append(page.figure(gallery.save(draw.quality_over_ratio(fit), "quality_over_ratio", *names), across))
    drawings.append(page.figure(gallery.save(draw.surface(fit), "surface", *names), on_plane))
    if fit.selected is not None:
        residuals = (
            "Residuals of the fitted form: hollow, fitted to all points; filled, with that point left out of the fit."
        )
        drawings.append(page.figure(gallery.save(draw.residuals(fit), "residuals", *names), residuals))
    content = [f"<h3>{escape(capitalised(fit.loss.label))}</h3>", page.figures(drawings)]
    summary = f"How the loss of {fit.loss.label} was fitted: {fit.loss.definition}"
    content.append(page.details(summary, _fit_details(fit, series, gallery), is_open))
    return "".join(content)


def quality_section(fits: Sequence[MetricFit], series: Series, gallery: Gallery) -> str:
    """Quality over the plane for every metric that the log holds, and how each form fits."""
    if not fits:
        return "<h3>Quality</h3>" + page.paragraph(
            "The log holds no quality metric: the originals were not known where the pictures were received."
        )
    tasks = [fit.metric.partition(":")[2] for fit in fits if ":" in fit.metric]
    parts = []
    for i, fit in enumerate(fits):
        section, task = _metric(fit, series, gallery, i == 0), fit.metric.partition(":")[2]
        others = bool(task) and task != tasks[0]
        parts.append(page.details(capitalised(fit.loss.label), section) if others else section)
    return "".join(parts)


def comparison_section(fits: Mapping[Series, Sequence[MetricFit]], gallery: Gallery) -> str:
    """Several codecs or channels side by side, metric by metric."""
    metrics = {fit.metric: None for metric_fits in fits.values() for fit in metric_fits}
    parts = ['<h2 id="comparison">Codecs and channels side by side</h2>']
    for metric in metrics:
        chosen = [fit for metric_fits in fits.values() for fit in metric_fits if fit.metric == metric]
        if len(chosen) > 1:
            drawing = gallery.save(draw.comparison(chosen), "comparison", metric)
            parts.append(
                page.figure(
                    drawing, f"{chosen[0].loss.label}, measured means; a panel for each of up to four ratios.", "wide"
                )
            )
    return "".join(parts)
