# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit every form to the cells of a log, choose the one with the least held-out error, and say how far to trust it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls
from scipy.stats import qmc

from djscc.semantic_loss.cells import Cells, FitError, Series, collect, series_of
from djscc.semantic_loss.forms import FORMS, Form
from djscc.semantic_loss.losses import Loss, Tile, loss_of_metric
from djscc.semantic_loss.model import FittedModel, Quality

Array = NDArray[np.float64]

STARTS = 256  # random points at which the levels are solved for; the best of them are refined
REFINED_STARTS = 4
FOLDS = 20  # leave one out up to 20 points
RESAMPLES = 200
INTERVAL = (2.5, 97.5)  # per cent
SNR_SCATTER_DB = 0.4  # above the receiver's own estimation error over a frame


class _Problem:
    """Bounded least squares of one form in coordinates of its own: logarithms where a parameter spans decades, levels in
    units of the largest measured loss."""

    def __init__(self, form: Form, scale: float) -> None:
        self.form = form
        self.scale = scale
        self.is_log = np.array([p.scale == "log" for p in form.parameters])
        self.is_level = np.array([p.scale == "level" for p in form.parameters])
        low, high = (np.array([getattr(p, end) for p in form.parameters], np.float64) for end in ("low", "high"))
        with np.errstate(divide="ignore", invalid="ignore"):
            self.low = np.where(self.is_log, np.log(low), low)
            self.high = np.where(self.is_log, np.log(high), high)

    def parameters(self, point: Array) -> Array:
        values = np.where(self.is_log, np.exp(np.where(self.is_log, point, 0)), point)
        return np.asarray(np.where(self.is_level, values * self.scale, values), np.float64)

    def point(self, parameters: Array) -> Array:
        values = np.where(self.is_level, parameters / self.scale, parameters)
        return np.asarray(np.where(self.is_log, np.log(np.where(self.is_log, values, 1)), values), np.float64)

    def starts(self, ratio: Array, snr_db: Array, loss: Array, sigma: Array, rng: np.random.Generator) -> list[Array]:
        """The most promising of ``STARTS`` points spread over the box. The loss is linear in the levels: at each point they are
        solved for, so that only the other parameters have to be guessed."""
        sampler = qmc.Sobol(len(self.low), seed=rng)
        points = self.low + sampler.random(STARTS) * (self.high - self.low)
        levels = np.flatnonzero(self.is_level)
        points[:, levels] = 0
        units = np.repeat(points[:, None], len(levels), 1)  # (STARTS, levels, P), one level of each at 1
        units[:, range(len(levels)), levels] = 1
        bases = self.form.evaluate(self.parameters(units), ratio, snr_db) / sigma
        costs = np.empty(STARTS)
        for i, basis in enumerate(bases):
            points[i, levels] = np.minimum(nnls(basis.T, loss / sigma)[0], self.high[levels])
            costs[i] = ((points[i, levels] @ basis - loss / sigma) ** 2).sum()
        return list(points[np.argsort(costs)[:REFINED_STARTS]])

    def refine(self, start: Array, ratio: Array, snr_db: Array, loss: Array, sigma: Array) -> tuple[float, Array]:
        span = self.high - self.low
        steps = np.diag(1e-7 * span)

        def residuals(point: Array) -> Array:
            return (self.form.evaluate(self.parameters(point), ratio, snr_db) - loss) / sigma

        def jacobian(point: Array) -> Array:
            inward = np.where(point + 1e-7 * span > self.high, -1.0, 1.0)[:, None]
            points = np.concatenate([point[None], point + inward * steps])
            losses = self.form.evaluate(self.parameters(points), ratio, snr_db)
            return np.asarray(((losses[1:] - losses[0]) / (inward * 1e-7 * span[:, None] * sigma)).T, np.float64)

        result = least_squares(
            residuals,
            np.clip(start, self.low + 1e-9 * span, self.high - 1e-9 * span),
            jacobian,
            bounds=(self.low, self.high),
            x_scale="jac",
            ftol=1e-6,
            xtol=1e-6,
            gtol=1e-6,
            max_nfev=150,
        )
        return float(result.cost), result.x

    def solve(self, starts: Iterable[Array], ratio: Array, snr_db: Array, loss: Array, sigma: Array) -> Array:
        return min((self.refine(start, ratio, snr_db, loss, sigma) for start in starts), key=lambda found: found[0])[1]


def quality_of(predicted: Array, loss: Array, sigma: Array) -> Quality:
    """Figures of merit of predictions against measured mean losses; MAPE over the cells whose loss is not zero."""
    residual = predicted - loss
    total = float(((loss - loss.mean()) ** 2).sum())
    positive = loss > 0
    return Quality(
        r2=1 - float((residual**2).sum()) / total if total > 0 else float("nan"),
        rmse=float(np.sqrt((residual**2).mean())),
        mape=float(np.abs(residual[positive] / loss[positive]).mean()) if positive.any() else float("nan"),
        weighted=float(np.sqrt(((residual / sigma) ** 2).mean())),
    )


@dataclass(frozen=True)
class FormFit:
    """One form fitted to one log. ``refused`` says why a form was not fitted; its other fields are then empty."""

    form: Form
    parameters: Array
    quality: Quality | None
    held_out: Quality | None
    held_out_loss: Array
    at_bound: tuple[str, ...] = ()
    refused: str | None = None

    def to_dict(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"form": self.form.name, "title": self.form.title, "formula": self.form.formula}
        if self.refused is not None or self.quality is None or self.held_out is None:
            return {**entry, "refused": self.refused}
        return {
            **entry,
            "parameters": dict(zip(self.form.names, self.parameters.tolist(), strict=True)),
            "fit": self.quality.to_dict(),
            "held_out": self.held_out.to_dict(),
            "at_bound": list(self.at_bound),
        }


def fit_form(form: Form, cells: Cells, seed: int = 0) -> FormFit:
    """Fit one form by weighted least squares from many starts, and measure its error on (ratio, SNR) points left out in folds.

    Each cell weighs by the inverse square of ``cells.sigma``. Every point is left out once, in at most ``FOLDS`` folds drawn
    by ``seed``.
    """
    nothing = np.full(len(cells), np.nan)
    reason = form.refusal(*_distinct(cells), len(cells))
    if reason is not None:
        return FormFit(form, np.full(len(form.parameters), np.nan), None, None, nothing, refused=reason)
    loss, sigma = cells.loss, cells.sigma
    problem = _Problem(form, float(loss.max()) or 1.0)
    plane = cells.ratio, cells.snr_db
    starts = problem.starts(*plane, loss, sigma, np.random.default_rng(seed))
    point = problem.solve(starts, *plane, loss, sigma)
    held_out = nothing.copy()
    order = np.random.default_rng(seed).permutation(len(cells))  # the same folds for every form
    for left_out in np.array_split(order, min(FOLDS, len(cells))):
        keep = np.setdiff1d(np.arange(len(cells)), left_out)
        kept = cells.ratio[keep], cells.snr_db[keep], loss[keep], sigma[keep]
        without = problem.solve([point], *kept)
        held_out[left_out] = form.evaluate(problem.parameters(without), cells.ratio[left_out], cells.snr_db[left_out])
    parameters = problem.parameters(point)
    near = 1e-3 * (problem.high - problem.low)
    at_bound = tuple(
        f"{p.name} = {value:.3g}, its {'lower' if low else 'upper'} bound"
        for p, value, low, high in zip(
            form.parameters, parameters, point < problem.low + near, point > problem.high - near, strict=True
        )
        if high or (low and p.scale != "level" and p.low != 0)
    )
    return FormFit(
        form,
        parameters,
        quality_of(form.evaluate(parameters, *plane), loss, sigma),
        quality_of(held_out, loss, sigma),
        held_out,
        at_bound,
    )


def bootstrap(fit: FormFit, cells: Cells, seed: int = 0, resamples: int = RESAMPLES) -> Array:
    """Parameters (resamples, P) of the form fitted again to tiles drawn with replacement, the same draw for all cells.

    What comes out is how much the parameters owe to which tiles were sent, not whether the form is right. With one tile a cell
    there is nothing to draw: an empty array.
    """
    if len(cells.sums) < 2:
        return np.empty((0, len(fit.parameters)))
    rng = np.random.default_rng(seed)
    problem = _Problem(fit.form, float(cells.loss.max()) or 1.0)
    start, sigma = problem.point(fit.parameters), cells.sigma
    draws = []
    for _ in range(resamples):
        loss = cells.resampled_loss(rng)
        there = np.isfinite(loss)
        if there.sum() >= len(fit.parameters):
            drawn = problem.solve([start], cells.ratio[there], cells.snr_db[there], loss[there], sigma[there])
            draws.append(problem.parameters(drawn))
    return np.array(draws).reshape(-1, len(fit.parameters))


def _distinct(cells: Cells) -> tuple[int, int]:
    return len(np.unique(cells.ratio)), len(np.unique(np.round(cells.snr_db, 1)))


def _unidentified(form: Form, draws: Array, scale: float) -> list[str]:
    """Parameters whose interval is so wide that the log does not tell them: a factor of 10 (log), the largest measured loss
    (levels), half of the allowed range (linear)."""
    warnings = []
    for p, low, high in zip(form.parameters, *np.percentile(draws, INTERVAL, axis=0), strict=True):
        allowed = scale if p.scale == "level" else 0.5 * (p.high - p.low)
        wide = high > 10 * low if p.scale == "log" else high - low > allowed
        if wide:
            warnings.append(
                f"parameter {p.name} ({p.meaning}) is not identified: 95 % interval {low:.3g} to {high:.3g}; "
                "trust the curve within the measured range, not this number"
            )
    return warnings


def coverage_warnings(cells: Cells) -> list[str]:
    """What the log lacks for a surface over the plane."""
    warnings = []
    ratios, snrs = _distinct(cells)
    if ratios < 3:
        warnings.append(f"only {ratios} ratio(s) were measured; run at least 3 for a surface over ratio")
    elif cells.ratio.max() < 3 * cells.ratio.min():
        warnings.append("the ratios span less than a factor of 3; the exponent over ratio is a local one")
    if snrs < 4:
        warnings.append(f"only {snrs} SNR(s) were measured; run at least 4 for a surface over SNR")
    elif np.ptp(cells.snr_db) < 6:
        warnings.append(f"the SNRs span {np.ptp(cells.snr_db):.1f} dB; run at least 6 dB for a surface over SNR")
    if not cells.snr_is_estimated and len(cells) < ratios * snrs:
        warnings.append(f"{ratios * snrs - len(cells)} of {ratios * snrs} points of the grid have no data")
    if cells.snr_is_estimated:
        warnings.append("true SNRs are not known: the fit is over the receiver's estimates, in cells of 1 dB")
    if cells.snr_scatter_db > SNR_SCATTER_DB:
        warnings.append(
            f"from point to point the receiver's SNR strays from the channel's mean by {cells.snr_scatter_db:.1f} dB: each point "
            "met only a few fades, which the intervals, made of tiles, do not count; send more frames or seeds a point"
        )
    if cells.not_received:
        warnings.append(
            f"{cells.not_received} tiles of lost frames have no loss: the fit is of tiles that were received"
        )
    loss = cells.loss
    if np.ptp(loss) < 4 * float(np.median(cells.sigma)):
        warnings.append("the loss hardly changes over the plane: its spread is within the sampling error")
    return warnings


@dataclass(frozen=True)
class MetricFit:
    """Every form fitted to one metric of one series; ``model`` is the selected one, None where every form was refused."""

    metric: str
    loss: Loss
    series: Series
    cells: Cells
    fits: tuple[FormFit, ...]
    model: FittedModel | None
    warnings: tuple[str, ...]

    @property
    def selected(self) -> FormFit | None:
        return next(
            (fit for fit in self.fits if self.model is not None and fit.form.name == self.model.form.name), None
        )

    def to_dict(self) -> dict[str, Any]:
        columns = (self.cells.ratio, self.cells.snr_db, self.cells.loss, self.cells.standard_error, self.cells.tiles)
        return {
            "metric": self.metric,
            "loss": self.loss.definition,
            "codec": self.series.codec,
            "channel": self.series.channel,
            "selected": None if self.model is None else self.model.form.name,
            "model": None if self.model is None else self.model.to_dict(),
            "forms": [fit.to_dict() for fit in self.fits],
            "warnings": list(self.warnings),
            "cells": [
                {"ratio": r, "snr_db": g, "loss": m, "standard_error": None if np.isnan(e) else e, "tiles": int(n)}
                for r, g, m, e, n in zip(*(column.tolist() for column in columns), strict=True)
            ],
            "tiles_not_received": self.cells.not_received,
        }


def fit_metric(
    tiles: Iterable[Tile],
    metric: str,
    *,
    forms: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    provenance: Mapping[str, Any] | None = None,
) -> MetricFit:
    """Fit the loss of ``metric`` over ratio and SNR to the per-tile records of one codec over one channel.

    ``tiles`` are flat records as ``RunLog.tiles()`` gives; ``forms`` limits the choice to some of ``FORMS`` (one name fits that
    form whatever its error). The form with the least held-out weighted error is selected. Raises MetricError for an unknown
    metric and FitError for a log that holds nothing to fit.
    """
    loss = loss_of_metric(metric)
    tiles = list(tiles)
    cells = collect(tiles, loss)
    for name in forms or ():
        if name not in FORMS:
            raise FitError(f"form {name!r} is not known; choose from {', '.join(FORMS)}")
    fits = tuple(fit_form(FORMS[name], cells, seed) for name in forms or FORMS)
    warnings = coverage_warnings(cells)
    fitted = [fit for fit in fits if fit.held_out is not None]
    series = series_of(tiles[0])
    if not fitted:
        warnings.append("no form could be fitted: " + "; ".join(f"{fit.form.name} {fit.refused}" for fit in fits))
        return MetricFit(metric, loss, series, cells, fits, None, tuple(warnings))
    best = min(fitted, key=lambda fit: fit.held_out.weighted if fit.held_out else np.inf)
    draws = bootstrap(best, cells, seed, resamples)
    warnings += [f"parameter {bound}: the log does not reach where it would be told" for bound in best.at_bound]
    if len(draws):
        warnings += _unidentified(best.form, draws, float(cells.loss.max()))
    else:
        warnings.append("one tile only: no intervals")
    assert best.quality is not None and best.held_out is not None
    model = FittedModel(
        metric=metric,
        form=best.form,
        parameters=best.parameters,
        draws=draws,
        ratios=np.unique(cells.ratio),
        snr_db=(float(cells.snr_db.min()), float(cells.snr_db.max())),
        quality=best.quality,
        held_out=best.held_out,
        provenance={
            "codec": series.codec,
            "channel": series.channel,
            "tiles": len(cells.sums),
            "points": len(cells),
            "tiles_not_received": cells.not_received,
            "seed": seed,
            **(provenance or {}),
        },
    )
    return MetricFit(metric, loss, series, cells, fits, model, tuple(warnings))


@dataclass(frozen=True)
class FitReport:
    """The fits of one metric to everything that was run: one for each codec and channel."""

    metric: str
    fits: tuple[MetricFit, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"metric": self.metric, "fits": [fit.to_dict() for fit in self.fits]}


def split_series(tiles: Iterable[Tile]) -> dict[Series, list[Tile]]:
    """Records by codec and channel, in the order in which these first come."""
    groups: dict[Series, list[Tile]] = {}
    for tile in tiles:
        groups.setdefault(series_of(tile), []).append(tile)
    return groups


def fit_run_logs(tiles: Iterable[Tile], metric: str, *, forms: Sequence[str] | None = None, seed: int = 0) -> FitReport:
    """Fit one metric to the per-tile records of one or more runs, each codec and channel by itself."""
    groups = split_series(tiles)
    if not groups:
        raise FitError("the run logs hold no tile records; run a campaign or a loopback first")
    return FitReport(metric, tuple(fit_metric(group, metric, forms=forms, seed=seed) for group in groups.values()))


def common_form(fits: Sequence[MetricFit]) -> tuple[str, dict[str, float]]:
    """The one form that serves all the metrics best, and every form's score.

    A score is the geometric mean, over the fits, of a form's held-out weighted error relative to the best form's there: 1 is
    the best for every metric. Forms that were refused anywhere have no score.
    """
    ratios: dict[str, list[float]] = {}
    for fit in fits:
        errors = {f.form.name: f.held_out.weighted for f in fit.fits if f.held_out is not None}
        for name, error in errors.items():
            ratios.setdefault(name, []).append(error / min(errors.values()))
    scores = {name: float(np.exp(np.mean(np.log(r)))) for name, r in ratios.items() if len(r) == len(fits)}
    if not scores:
        raise FitError("no form could be fitted to all the metrics; run more ratios and SNRs")
    return min(scores, key=scores.__getitem__), scores
