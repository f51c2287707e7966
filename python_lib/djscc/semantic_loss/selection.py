# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit every form to every metric of a log, and choose: the form of least held-out error, one for all metrics where there are
several."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from djscc.semantic_loss.cells import Cells, FitError, Series, collect, series_of
from djscc.semantic_loss.coverage import coverage_warnings, unidentified, varies
from djscc.semantic_loss.fit import RESAMPLES, FormFit, bootstrap, fit_form
from djscc.semantic_loss.forms import FORMS
from djscc.semantic_loss.losses import Loss, Tile, loss_of_metric, metrics_of
from djscc.semantic_loss.model import FittedModel, short
from djscc.semantic_loss.relation import Relation, relations


@dataclass(frozen=True)
class MetricFit:
    """Every form fitted to one metric of one series; ``model`` is the chosen one, None where every form was refused."""

    metric: str
    loss: Loss
    series: Series
    cells: Cells
    fits: tuple[FormFit, ...]
    model: FittedModel | None
    warnings: tuple[str, ...]

    @property
    def selected(self) -> FormFit | None:
        """The fit that ``model`` was made of."""
        return None if self.model is None else self.of_form(self.model.form.name)

    @property
    def best(self) -> FormFit | None:
        """The form of least held-out weighted error for this metric alone."""
        fitted = [fit for fit in self.fits if fit.held_out is not None]
        return min(fitted, key=lambda fit: fit.held_out.weighted if fit.held_out else np.inf, default=None)

    def of_form(self, name: str | None) -> FormFit | None:
        """The fit of a form by name; None where it was refused or not tried."""
        return next((fit for fit in self.fits if fit.form.name == name and fit.held_out is not None), None)

    def to_dict(self) -> dict[str, Any]:
        columns = (self.cells.ratio, self.cells.snr_db, self.cells.loss, self.cells.standard_error, self.cells.tiles)
        return {
            "metric": self.metric,
            "loss": self.loss.definition,
            "codec": self.series.codec,
            "channel": self.series.channel,
            "selected": None if self.model is None else self.model.form.name,
            "best_alone": None if self.best is None else self.best.form.name,
            "model": None if self.model is None else self.model.to_dict(),
            "forms": [fit.to_dict() for fit in self.fits],
            "warnings": list(self.warnings),
            "cells": dict(
                zip(
                    ("ratio", "snr_db", "loss", "standard_error", "tiles"),
                    (list(map(short, c)) for c in columns),
                    strict=True,
                )
            ),
            "tiles_not_received": self.cells.not_received,
        }


def _fit_forms(tiles: Sequence[Tile], metric: str, forms: Sequence[str] | None, seed: int) -> MetricFit:
    """Every form fitted to one metric, none of them chosen yet."""
    loss = loss_of_metric(metric)
    cells = collect(tiles, loss)
    fits = tuple(fit_form(FORMS[name], cells, seed) for name in forms or FORMS)
    warnings = (*mixture_warnings(tiles), *coverage_warnings(cells))
    return MetricFit(metric, loss, series_of(tiles[0]), cells, fits, None, warnings)


def _check_forms(forms: Sequence[str] | None) -> None:
    for name in forms or ():
        if name not in FORMS:
            raise FitError(f"form {name!r} is not known; choose from {', '.join(FORMS)}")


def _choose(fit: MetricFit, form: str | None, seed: int, resamples: int, provenance: Mapping[str, Any]) -> MetricFit:
    """The model of ``form``, or of the metric's own best where that is None or was refused, with intervals and warnings."""
    chosen, cells, warnings = fit.of_form(form) or fit.best, fit.cells, list(fit.warnings)
    if chosen is None or chosen.quality is None or chosen.held_out is None:
        refusals = "; ".join(f"{f.form.name} {f.refused}" for f in fit.fits)
        return dataclasses.replace(fit, warnings=(*warnings, f"no form could be fitted: {refusals}"))
    draws = bootstrap(chosen, cells, seed, resamples)
    warnings += [f"parameter {bound}: the log does not reach where it would be told" for bound in chosen.at_bound]
    if len(draws):
        warnings += unidentified(chosen.form, draws, float(cells.loss.max()))
    else:
        warnings.append("one tile only: no intervals")
    model = FittedModel(
        metric=fit.metric,
        form=chosen.form,
        parameters=chosen.parameters,
        draws=draws,
        ratios=np.unique(cells.ratio),
        snr_db=(float(cells.snr_db.min()), float(cells.snr_db.max())),
        quality=chosen.quality,
        held_out=chosen.held_out,
        provenance={
            "codec": fit.series.codec,
            "channel": fit.series.channel,
            "tiles": len(cells.sums),
            "points": len(cells),
            "tiles_not_received": cells.not_received,
            "seed": seed,
            **provenance,
        },
    )
    return dataclasses.replace(fit, model=model, warnings=tuple(warnings))


def fit_metric(
    tiles: Iterable[Tile],
    metric: str,
    *,
    forms: Sequence[str] | None = None,
    seed: int = 1,
    resamples: int = RESAMPLES,
    provenance: Mapping[str, Any] | None = None,
) -> MetricFit:
    """Fit the loss of ``metric`` over ratio and SNR to the per-tile records of one codec over one channel.

    ``tiles`` are flat records as ``RunLog.tiles()`` gives; ``forms`` limits the choice to some of ``FORMS`` (one name fits that
    form whatever its error). The form with the least held-out weighted error is selected. Raises MetricError for an unknown
    metric and FitError for a log that holds nothing to fit.
    """
    _check_forms(forms)
    return _choose(_fit_forms(list(tiles), metric, forms, seed), None, seed, resamples, provenance or {})


@dataclass(frozen=True)
class FitReport:
    """The fits of one or several metrics to everything that was run, one for each codec and channel. ``unified`` is the one form
    chosen for all of them, None for one fit alone; ``scores`` are those of :func:`common_form`."""

    fits: tuple[MetricFit, ...]
    unified: str | None = None
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def of_series(self) -> dict[Series, list[MetricFit]]:
        """The fits by codec and channel."""
        groups: dict[Series, list[MetricFit]] = {}
        for fit in self.fits:
            groups.setdefault(fit.series, []).append(fit)
        return groups

    @cached_property
    def relations(self) -> dict[Series, list[Relation]]:
        """What each metric says of each other, for each codec and channel that holds several."""
        found = {series: relations(fits) for series, fits in self.of_series().items()}
        return {series: pairs for series, pairs in found.items() if pairs}

    def to_dict(self) -> dict[str, Any]:
        unified = None
        if self.unified is not None:
            scores = {name: short(score) for name, score in self.scores.items()}
            unified = {"form": self.unified, "formula": FORMS[self.unified].formula, "scores": scores}
        tried = dict.fromkeys(form_fit.form for fit in self.fits for form_fit in fit.fits)
        forms = {form.name: {"title": form.title, "formula": form.formula, "source": form.source} for form in tried}
        said = [
            {"codec": series.codec, "channel": series.channel, **relation.to_dict()}
            for series, pairs in self.relations.items()
            for relation in pairs
        ]
        return {"unified": unified, "forms": forms, "fits": [fit.to_dict() for fit in self.fits], "relations": said}


def split_series(tiles: Iterable[Tile]) -> dict[Series, list[Tile]]:
    """Records by codec and channel, in the order in which these first come."""
    groups: dict[Series, list[Tile]] = {}
    for tile in tiles:
        groups.setdefault(series_of(tile), []).append(tile)
    return groups


def mixture_warnings(tiles: Iterable[Tile]) -> list[str]:
    """What to say where records of one series come from networks of different weights."""
    networks: dict[str, set[str]] = {"codec_id": set(), "decoder_id": set()}
    for tile in tiles:
        for key, found in networks.items():
            if tile.get(key) is not None:
                found.add(str(tile[key]))
    return [
        f"networks of different weights are mixed, {key.replace('_', ' ')} {', '.join(sorted(found))}: the means are of all of them"
        for key, found in networks.items()
        if len(found) > 1
    ]


def fit_run_logs(
    tiles: Iterable[Tile],
    metrics: str | Sequence[str] | None = None,
    *,
    forms: Sequence[str] | None = None,
    seed: int = 1,
    resamples: int = RESAMPLES,
    provenance: Mapping[str, Any] | None = None,
) -> FitReport:
    """Fit metrics to the per-tile records of one or more runs, each codec and channel by itself.

    ``metrics`` None takes all that the logs hold, where at a known ratio and SNR. Several fits get the one form that
    serves all of them best (:func:`common_form`); a log too small for that form gets its own best. A series that holds none of a
    metric is left out of it; FitError where all lack a metric that is asked for, or a form is not known. Logs without originals
    have no fit where nothing is asked for.
    """
    _check_forms(forms)
    groups = split_series(tiles)
    if not groups:
        raise FitError("the run logs hold no tile records; run a campaign or a loopback first")
    fits, refused = [], {}
    asked = [metrics] if isinstance(metrics, str) else metrics

    def request(metric: str) -> str:
        """What was asked for: a task's metric, or the metric of any task."""
        return metric if asked is not None and metric in asked else metric.partition(":")[0]

    for series, group in groups.items():
        for metric in metrics_of(group, asked):
            try:
                fits.append(_fit_forms(group, metric, forms, seed))
            except FitError as error:
                refused[request(metric)] = f"{series}: {error}"
    missing = refused.keys() - {request(fit.metric) for fit in fits}
    if metrics is not None and missing:
        raise FitError(next(reason for metric, reason in refused.items() if metric in missing))
    unified: str | None = None
    scores: dict[str, float] = {}
    if len(fits) > 1:
        with contextlib.suppress(FitError):  # too few points for any form
            unified, scores = common_form(fits)
    chosen = (_choose(fit, unified, seed, resamples, provenance or {}) for fit in fits)
    return FitReport(tuple(chosen), unified, scores)


def common_form(fits: Sequence[MetricFit]) -> tuple[str, dict[str, float]]:
    """The one form that serves all the metrics best, and every form's score.

    A score is the geometric mean, over the fits, of a form's held-out weighted error relative to the best form's there: 1 is
    the best for every metric. Logs too small for some form do not count where there are others, nor do metrics that hardly change
    over the plane, which every form meets; forms that were refused anywhere else have no score.
    """
    chosen = [fit for fit in fits if all(form.refused is None for form in fit.fits)] or fits
    chosen = [fit for fit in chosen if varies(fit.cells)] or chosen
    ratios: dict[str, list[float]] = {}
    for fit in chosen:
        errors = {f.form.name: f.held_out.weighted for f in fit.fits if f.held_out is not None}
        for name, error in errors.items():
            ratios.setdefault(name, []).append(error / min(errors.values()))
    scores = {name: float(np.exp(np.mean(np.log(r)))) for name, r in ratios.items() if len(r) == len(chosen)}
    if not scores:
        raise FitError("no form could be fitted to all the metrics; run more ratios and SNRs")
    return min(scores, key=scores.__getitem__), scores
