# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit a form to the cells of a log: bounded least squares from many starts, its error on points held out, resampled tiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls
from scipy.stats import qmc

from djscc.semantic_loss.cells import Cells
from djscc.semantic_loss.forms import Form
from djscc.semantic_loss.model import Quality, short

Array = NDArray[np.float64]

STARTS = 256  # random points at which the levels are solved for; the best of them are refined
REFINED_STARTS = 4
FOLDS = 20  # leave one out up to 20 points
RESAMPLES = 100


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
        entry: dict[str, Any] = {"form": self.form.name}
        if self.refused is not None or self.quality is None or self.held_out is None:
            return {**entry, "refused": self.refused}
        return {
            **entry,
            "parameters": dict(zip(self.form.names, map(short, self.parameters.tolist()), strict=True)),
            "fit": self.quality.to_dict(),
            "held_out": self.held_out.to_dict(),
            "at_bound": list(self.at_bound),
        }


def fit_form(form: Form, cells: Cells, seed: int = 1) -> FormFit:
    """Fit one form by weighted least squares from many starts, and measure its error on (ratio, SNR) points left out in folds.

    Each cell weighs by the inverse square of ``cells.sigma``. Every point is left out once, in at most ``FOLDS`` folds drawn
    by ``seed``.
    """
    nothing = np.full(len(cells), np.nan)
    reason = form.refusal(*distinct(cells), len(cells))
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


def bootstrap(fit: FormFit, cells: Cells, seed: int = 1, resamples: int = RESAMPLES) -> Array:
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


def distinct(cells: Cells) -> tuple[int, int]:
    return len(np.unique(cells.ratio)), len(np.unique(np.round(cells.snr_db, 1)))
