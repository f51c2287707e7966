# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a report: each a function from data to a matplotlib figure, saved as inline SVG and as PNG."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from djscc.report.runs import ratio_text, snr_text
from djscc.semantic_loss import MetricFit, Relation
from djscc.semantic_loss.relation import common_points

Array = NDArray[np.float64]
Picture = NDArray[np.uint8] | str  # or why there is none

INK, MUTED, RULE = "#23272b", "#68717a", "#dadfe4"  # in the page these follow the reader's light or dark theme
COLOURS = (
    "#1878bd",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#b8860b",
    "#4aa3df",
    "#7f6fb0",
    "#8a8a8a",
)  # after Okabe and Ito
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MAP = "cividis"
INK_ON_MAP = "#1b1e21"  # on the map's light end, in either theme

STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.columnspacing": 1.1,
    "legend.handletextpad": 0.3,
    "lines.linewidth": 1.6,
    "mathtext.fontset": "stix",
    "svg.hashsalt": "djscc",
    "figure.constrained_layout.use": True,
}


def style_of(position: int) -> tuple[str, str]:
    """Colour and marker of the n-th line."""
    return COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)]


def svg_of(figure: Figure) -> str:
    """The figure as an inline SVG element whose ink follows the page's theme."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in ((INK, "--ink"), (MUTED, "--muted"), (RULE, "--rule")):
        svg = svg.replace(colour, f"var({variable})")
    width, height = figure.get_size_inches()
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', f'style="aspect-ratio:{width:g}/{height:g}"', svg, count=1)


class Gallery:
    """Saves each figure as PNG beside the page, under a name of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[str] = []

    def save(self, figure: Figure, *names: str) -> Figure:
        file = re.sub(r"[^A-Za-z0-9.+-]+", "_", "_".join(names)) + ".png"
        with matplotlib.rc_context(STYLE):
            figure.savefig(self.folder / file, format="png", dpi=160, facecolor="white")
        figure.set_layout_engine("none")  # what was laid out stays: drawing it again as SVG is then quick
        self.files.append(file)
        return figure


def _new(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.ravel(figure.subplots(1, columns)))


_styled = matplotlib.rc_context(STYLE)  # as a decorator: a fresh context for each call


def snr_label(estimated: bool) -> str:
    return f"{'estimated ' if estimated else ''}Es/N0 (dB)"


def _snr_axis(axes: Axes, snr_db: Array, estimated: bool) -> None:
    values = np.unique(np.round(snr_db, 1))
    if len(values) <= 12:
        axes.set_xticks(values, [f"{v:g}".replace("-", "\N{MINUS SIGN}") for v in values])
    axes.set_xlabel(snr_label(estimated))


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write each line's name at its right end, moved apart where they would touch."""
    if not ends:
        return
    low, high = axes.get_ylim()
    gap = 0.052 * (high - low)
    placed: list[float] = []
    for _, y, _, _ in sorted(ends, key=lambda end: end[1]):
        placed.append(max(y, placed[-1] + gap) if placed else y)
    excess = max(0.0, placed[-1] - high)
    for (x, _, text, colour), y in zip(sorted(ends, key=lambda end: end[1]), placed, strict=True):
        axes.annotate(
            text,
            (x, y - excess),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )


def _means(axes: Axes, fit: MetricFit, where: NDArray[Any], x: Array, position: int, **style: Any) -> Array:
    """Mean metric of the cells ``where`` over ``x``, with 95 % intervals, in the n-th colour; returns the means."""
    colour, marker = style_of(position)
    value = np.vectorize(fit.loss.value, otypes=[np.float64])
    mean = value(fit.cells.loss[where])
    bounds = np.abs(value(np.stack(fit.cells.interval)[:, where]) - mean)
    axes.errorbar(
        x,
        mean,
        bounds[::-1] if fit.loss.value(1) < fit.loss.value(0) else bounds,
        fmt=marker,
        color=colour,
        **{"markersize": 4.5, "capsize": 2.5, "elinewidth": 1, "zorder": 3} | style,
    )
    return mean


@_styled
def quality_over_snr(fit: MetricFit) -> Figure:
    """Mean metric over SNR, a line for each ratio: points with 95 % intervals, the fitted surface as curves with its band."""
    figure, (axes,) = _new(5.2, 3.5)
    cells, loss = fit.cells, fit.loss
    value = np.vectorize(loss.value, otypes=[np.float64])
    low, high = float(cells.snr_db.min()), float(cells.snr_db.max())
    grid = np.linspace(low, high, 121)
    ends = []
    for position, ratio in enumerate(np.unique(cells.ratio)):
        colour, _ = style_of(position)
        there = cells.ratio == ratio
        mean = _means(axes, fit, there, cells.snr_db[there], position)
        if fit.model is None:
            axes.plot(cells.snr_db[there], mean, color=colour, linewidth=0.8, linestyle=":")
            ends.append((float(cells.snr_db[there][-1]), float(mean[-1]), ratio_text(ratio), colour))
            continue
        curve = value(fit.model.predict(ratio, grid))
        axes.plot(grid, curve, color=colour)
        if len(fit.model.draws):
            band = [value(bound) for bound in fit.model.interval(ratio, grid)]
            axes.fill_between(grid, *band, color=colour, alpha=0.16, linewidth=0)
        ends.append((high, float(curve[-1]), ratio_text(ratio), colour))
    axes.set_ylabel(loss.label)
    _snr_axis(axes, cells.snr_db, cells.snr_is_estimated)
    axes.margins(x=0.03)
    _label_ends(axes, ends)
    return figure


@_styled
def quality_over_ratio(fit: MetricFit) -> Figure:
    """Mean metric over ratio, a line for each of up to six SNRs: points with 95 % intervals, the fitted surface as curves."""
    figure, (axes,) = _new(5.2, 3.5)
    cells, loss = fit.cells, fit.loss
    value = np.vectorize(loss.value, otypes=[np.float64])
    ratios, snrs = np.unique(cells.ratio), np.unique(np.round(cells.snr_db, 1))
    snrs = snrs[np.unique(np.linspace(0, len(snrs) - 1, min(6, len(snrs))).round().astype(int))]
    grid = np.geomspace(ratios.min(), ratios.max(), 121)
    ends = []
    for position, snr_db in enumerate(snrs):
        colour, _ = style_of(position)
        there = np.round(cells.snr_db, 1) == snr_db
        mean = _means(axes, fit, there, cells.ratio[there], position)
        end = float(mean[-1])
        if fit.model is not None and len(ratios) > 1:
            curve = value(fit.model.predict(grid, float(cells.snr_db[there].mean())))
            axes.plot(grid, curve, color=colour)
            end = float(curve[-1])
        ends.append((float(cells.ratio[there].max()), end, snr_text(float(snr_db)), colour))
    axes.set_xscale("log")
    axes.set_xticks(ratios, [ratio_text(r) for r in ratios])
    axes.minorticks_off()
    axes.set(xlabel="ratio k/n", ylabel=loss.label)
    axes.margins(x=0.03)
    _label_ends(axes, ends)
    return figure


@_styled
def semantic_loss(fits: Sequence[MetricFit]) -> Figure:
    """The loss of up to six metrics over SNR, a colour for each ratio: points with 95 % intervals, the fitted form as curves; above
    each panel the form's error at points left out of the fit."""
    columns = min(3, len(fits)) if len(fits) != 4 else 2
    rows = -(-len(fits) // columns)
    figure = Figure(figsize=(3.7 * columns, 3.0 * rows + 0.5), layout="constrained")
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    ratios = np.unique(np.concatenate([fit.cells.ratio for fit in fits]))
    for axes, fit in zip(panels, fits, strict=False):
        cells = fit.cells
        grid = np.linspace(cells.snr_db.min(), cells.snr_db.max(), 121)
        for position, ratio in enumerate(ratios):
            colour, marker = style_of(position)
            there = cells.ratio == ratio
            bounds = np.abs(np.stack(cells.interval)[:, there] - cells.loss[there])
            style: Any = {
                "fmt": marker,
                "color": colour,
                "markersize": 3.5,
                "elinewidth": 0.9,
                "label": ratio_text(ratio),
            }
            axes.errorbar(cells.snr_db[there], cells.loss[there], bounds, zorder=3, **style)
            if fit.model is not None:
                axes.plot(grid, fit.model.predict(ratio, grid), color=colour, linewidth=1.3)
        title = fit.loss.loss_label
        if fit.model is not None and not math.isnan((held_out := fit.model.held_out).r2):
            title += f"\nR\N{SUPERSCRIPT TWO} {held_out.r2:.4f}, MAPE {100 * held_out.mape:.1f} %"
        axes.set_title(title, fontsize=9.5)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(snr_label(cells.snr_is_estimated))
    for axes in panels[len(fits) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=8, frameon=False, title="ratio k/n", title_fontsize=9
    )
    return figure


@_styled
def relation(source: MetricFit, target: MetricFit, found: Relation) -> Figure:
    """One metric over another, point by point of the plane, a colour for each ratio, with the rising curve that tells it."""
    figure, (axes,) = _new(5.2, 3.5)
    value = np.vectorize(source.loss.value, otypes=[np.float64])
    first, second = common_points(source.cells, target.cells)
    x, ratios = source.cells.loss[first], target.cells.ratio[second]
    for position, ratio in enumerate(np.unique(ratios)):
        there = ratios == ratio
        _means(axes, target, second[there], value(x[there]), position, markersize=4, capsize=0, label=ratio_text(ratio))
    grid = np.linspace(x.min(), x.max(), 121)
    axes.plot(value(grid), [target.loss.value(v) for v in found.predict(grid)], color=MUTED, linewidth=1.3)
    axes.set(xlabel=source.loss.label, ylabel=target.loss.label)
    figure.legend(loc="outside upper left", ncols=8, frameon=False, title="ratio k/n", title_fontsize=9)
    return figure


def _ratio_axis(axes: Axes, ratios: Array) -> None:
    axes.set_yscale("log")
    axes.set_yticks(ratios, [ratio_text(r) for r in ratios])
    axes.minorticks_off()
    axes.set_ylabel("ratio k/n")


@_styled
def surface(fit: MetricFit) -> Figure:
    """The metric over the plane: the fitted surface in colour with level lines, the measured means as dots in the same scale."""
    figure, (axes,) = _new(5.2, 3.5)
    cells, loss = fit.cells, fit.loss
    value = np.vectorize(loss.value, otypes=[np.float64])
    measured = value(cells.loss)
    ratios = np.unique(cells.ratio)
    low, high = measured.min(), measured.max()
    if fit.model is not None and len(ratios) > 1 and np.ptp(cells.snr_db) > 0:
        r = np.geomspace(ratios.min(), ratios.max(), 80)
        g = np.linspace(cells.snr_db.min(), cells.snr_db.max(), 80)
        z = value(fit.model.predict(r[:, None], g[None, :]))
        low, high = min(low, z.min()), max(high, z.max())
        levels = np.linspace(low, high + 1e-12, 15)
        axes.contourf(g, r, z, levels=levels, cmap=MAP)
        lines = axes.contour(g, r, z, levels=levels[1:-1:2], colors="white", linewidths=0.6)
        digits = max(0, int(np.ceil(-np.log10(max(high - low, 1e-12)))) + 1)
        shades = ["white" if level < 0.5 * (low + high) else INK_ON_MAP for level in lines.levels]
        axes.clabel(lines, fmt=f"%.{digits}f", fontsize=7.5, colors=shades)
    dots = axes.scatter(
        cells.snr_db,
        cells.ratio,
        c=measured,
        cmap=MAP,
        vmin=low,
        vmax=high,
        s=46,
        edgecolors="white",
        linewidths=1.2,
        zorder=3,
    )
    dots.set_clip_on(False)
    _ratio_axis(axes, ratios)
    axes.grid(False)
    _snr_axis(axes, cells.snr_db, cells.snr_is_estimated)
    bar = figure.colorbar(dots, ax=axes, label=loss.label, fraction=0.05, pad=0.03)
    bar.outline.set_visible(False)
    return figure


@_styled
def residuals(fit: MetricFit) -> Figure:
    """Relative residuals of the loss over SNR, fitted (hollow) and held out (filled), a colour for each ratio."""
    figure, (axes,) = _new(5.2, 2.9)
    chosen, cells = fit.selected, fit.cells
    assert chosen is not None
    loss = np.where(cells.loss > 0, cells.loss, np.nan)
    fitted = 100 * (chosen.form.evaluate(chosen.parameters, cells.ratio, cells.snr_db) / loss - 1)
    held_out = 100 * (chosen.held_out_loss / loss - 1)
    ratios = np.unique(cells.ratio)
    step = float(np.min(np.diff(np.unique(cells.snr_db)))) if len(np.unique(cells.snr_db)) > 1 else 1.0
    for position, ratio in enumerate(ratios):
        colour, marker = style_of(position)
        there = cells.ratio == ratio
        x = cells.snr_db[there] + step * 0.5 * ((position + 0.5) / len(ratios) - 0.5)
        axes.vlines(x, fitted[there], held_out[there], color=colour, linewidth=0.8)
        axes.plot(x, fitted[there], marker, color=colour, markerfacecolor="none", markersize=4.5)
        axes.plot(x, held_out[there], marker, color=colour, markersize=4.5, label=ratio_text(ratio))
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.set_ylabel("predicted / measured loss \N{MINUS SIGN} 1 (%)")
    _snr_axis(axes, cells.snr_db, cells.snr_is_estimated)
    figure.legend(loc="outside upper left", ncols=min(8, len(ratios)), frameon=False, title="ratio", title_fontsize=9)
    return figure


@_styled
def comparison(fits: Sequence[MetricFit]) -> Figure:
    """One metric of several series over SNR: a panel for each ratio, a line for each codec and channel."""
    ratios = np.unique(np.concatenate([fit.cells.ratio for fit in fits]))
    ratios = ratios[np.linspace(0, len(ratios) - 1, min(4, len(ratios))).round().astype(int)]
    figure, panels = _new(3.1 * len(ratios) + 0.4, 3.3, len(ratios))
    for axes, ratio in zip(panels, ratios, strict=True):
        for position, fit in enumerate(fits):
            there = fit.cells.ratio == ratio
            if there.any():
                colour, marker = style_of(position)
                mean = [fit.loss.value(v) for v in fit.cells.loss[there]]
                axes.plot(
                    fit.cells.snr_db[there], mean, marker=marker, markersize=4, color=colour, label=str(fit.series)
                )
        axes.set(xlabel=snr_label(any(fit.cells.snr_is_estimated for fit in fits)), title=f"ratio {ratio_text(ratio)}")
        axes.sharey(panels[0])
    panels[0].set_ylabel(fits[0].loss.label)
    entries = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=2, frameon=False)
    return figure


@_styled
def estimated_snr(frames: Sequence[Mapping[str, Any]]) -> Figure:
    """The receiver's SNR estimate less the true one, frame by frame."""
    figure, (axes,) = _new(5.2, 2.9)
    for position, ratio in enumerate(sorted({round(f["ratio"], 5) for f in frames})):
        colour, marker = style_of(position)
        chosen = [f for f in frames if round(f["ratio"], 5) == ratio]
        true = np.array([f["snr_db"] for f in chosen])
        error = np.array([f["snr_est_db"] for f in chosen]) - true
        axes.plot(true, error, marker, color=colour, markersize=4.5, alpha=0.8, label=ratio_text(ratio))
    axes.axhline(0, color=MUTED, linewidth=0.8)
    _snr_axis(axes, np.array([f["snr_db"] for f in frames]), False)
    axes.set(xlabel="true Es/N0 (dB)", ylabel="estimated \N{MINUS SIGN} true (dB)")
    figure.legend(loc="outside upper left", ncols=8, frameon=False, title="ratio", title_fontsize=9)
    return figure


@_styled
def over_snr(frames: Sequence[Mapping[str, Any]], key: str, label: str) -> Figure:
    """A receiver estimate, frame by frame, over SNR: the true one where it is known."""
    figure, (axes,) = _new(5.2, 2.9)
    estimated = any(f.get("snr_db") is None for f in frames)
    snr = np.array([f["snr_est_db"] if estimated else f["snr_db"] for f in frames])
    axes.plot(snr, [f[key] for f in frames], "o", color=COLOURS[0], markersize=4.5, alpha=0.6)
    axes.set_ylabel(label)
    _snr_axis(axes, snr, estimated)
    axes.ticklabel_format(axis="y", useOffset=False)
    return figure


@_styled
def confusion(panels: Sequence[tuple[str, NDArray[np.int64]]], names: Sequence[str], rows: str = "label") -> Figure:
    """Confusion matrices (decision over label, counts) side by side, shaded by the share of each label."""
    size = 1.6 + 0.24 * len(names)
    figure, axes_of = _new(size * len(panels) + 1.2, size + 0.9, len(panels))
    for axes, (title, counts) in zip(axes_of, panels, strict=True):
        share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        axes.imshow(share, cmap=MAP, vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names if axes is axes_of[0] else [""] * len(names), fontsize=7)
        axes.grid(False)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("decision")
        for row, column in np.argwhere(counts > 0):
            ink = INK_ON_MAP if share[row, column] > 0.5 else "white"
            axes.text(column, row, f"{100 * share[row, column]:.0f}", ha="center", va="center", fontsize=6, color=ink)
    axes_of[0].set_ylabel(rows)
    return figure


@_styled
def equation(latex: str, left: str = r"\hat L(r, g)") -> Figure:
    """An equation set by mathtext, as a figure that is cut to its size."""
    figure = Figure(figsize=(0.1, 0.1))
    text = figure.text(0.01, 0.5, f"${left} = {latex}$", fontsize=15, va="center")
    box = text.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    figure.set_size_inches(1.02 * box.width / figure.dpi + 0.1, 1.05 * box.height / figure.dpi + 0.08)
    return figure


@_styled
def contact_sheet(rows: Sequence[str], columns: Sequence[str], pictures: Sequence[Sequence[Picture]]) -> Figure:
    """Pictures in rows and columns, each pixel a square; a text in place of a picture says why it is missing."""
    figure = Figure(figsize=(1.12 * len(columns) + 0.6, 1.12 * len(rows) + 0.3), layout="constrained")
    panels = figure.subplots(len(rows), len(columns), squeeze=False)
    for i, j in np.ndindex(len(rows), len(columns)):
        axes, picture = panels[i, j], pictures[i][j]
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
        if isinstance(picture, str):
            axes.text(0.5, 0.5, picture, ha="center", va="center", color=MUTED, fontsize=7.5, transform=axes.transAxes)
            axes.set_aspect("equal")
        else:
            axes.imshow(picture, interpolation="nearest")
        if i == 0:
            axes.set_title(columns[j], loc="center", fontweight="normal", fontsize=9)
        if j == 0:
            axes.set_ylabel(rows[i])
    return figure
