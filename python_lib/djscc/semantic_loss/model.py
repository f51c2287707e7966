# SPDX-License-Identifier: GPL-3.0-or-later
"""A fitted semantic loss as a file: form, parameters, intervals, range and provenance, in JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from djscc.errors import DjsccError
from djscc.semantic_loss.forms import FORMS, Form
from djscc.semantic_loss.losses import Loss, loss_of_metric

Array = NDArray[np.float64]

FORMAT = "djscc semantic loss 1"


class ModelError(DjsccError):
    """A model file that cannot be used; the message names it and what is wrong with it."""


def short(value: float) -> float | None:
    """A number for a file, with six digits; None for what is not a number."""
    return None if math.isnan(value) else float(f"{value:.6g}")


@dataclass(frozen=True)
class Quality:
    """How well predictions meet measured mean losses.

    ``mape`` is a share (0.03 is 3 %); ``weighted`` is the root mean square of the residuals in units of what the fit weighed
    by, 1 where the form is as good as the sampling error lets one see.
    """

    r2: float
    rmse: float
    mape: float
    weighted: float

    def to_dict(self) -> dict[str, float | None]:
        return {key: short(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Quality:
        return cls(
            **{f.name: float("nan") if data[f.name] is None else float(data[f.name]) for f in dataclasses.fields(cls)}
        )


@dataclass(frozen=True)
class FittedModel:
    """The loss of one metric over the plane. ``parameters`` (P,) in the order of ``form.parameters``; ``draws`` (B, P) are
    those of resampled tiles, from which all intervals come; ``ratios`` (R,) are the measured ones, ``snr_db`` their range.
    """

    metric: str
    form: Form
    parameters: Array
    draws: Array
    ratios: Array
    snr_db: tuple[float, float]
    quality: Quality
    held_out: Quality
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def loss(self) -> Loss:
        return loss_of_metric(self.metric)

    def predict(self, ratio: ArrayLike, snr_db: ArrayLike) -> Array:
        """Mean loss at ``ratio`` (k/n) and ``snr_db``, arrays that broadcast. Outside the measured range this extrapolates:
        :meth:`covers` tells where."""
        return self.form.evaluate(self.parameters, ratio, snr_db)

    def interval(self, ratio: ArrayLike, snr_db: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
        """Lower and upper bound of the mean loss at a confidence ``level``, from the resampled tiles; both are the
        prediction itself where the model has no draws."""
        if not len(self.draws):
            predicted = self.predict(ratio, snr_db)
            return predicted, predicted
        losses = self.form.evaluate(self.draws, ratio, snr_db)
        tail = 50 * (1 - level)
        low, high = np.percentile(losses, (tail, 100 - tail), axis=0)
        return low, high

    def covers(self, ratio: ArrayLike, snr_db: ArrayLike) -> NDArray[np.bool_]:
        """Whether each point lies within the measured range."""
        r, g = np.asarray(ratio), np.asarray(snr_db)
        inside = (r >= self.ratios.min() * (1 - 1e-4)) & (r <= self.ratios.max() * (1 + 1e-4))
        return np.asarray(inside & (g >= self.snr_db[0] - 1e-9) & (g <= self.snr_db[1] + 1e-9))

    def parameter_intervals(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Interval of each parameter; empty where the model has no draws."""
        if not len(self.draws):
            return {}
        tail = 50 * (1 - level)
        low, high = np.percentile(self.draws, (tail, 100 - tail), axis=0)
        return {n: (float(a), float(b)) for n, a, b in zip(self.form.names, low, high, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "metric": self.metric,
            "loss": self.loss.definition,
            "form": self.form.name,
            "formula": self.form.formula,
            "parameters": dict(zip(self.form.names, self.parameters.tolist(), strict=True)),
            "intervals_95": {name: list(bounds) for name, bounds in self.parameter_intervals().items()},
            "ratios": self.ratios.tolist(),
            "snr_db": list(self.snr_db),
            "fit": self.quality.to_dict(),
            "held_out": self.held_out.to_dict(),
            "provenance": self.provenance,
            "draws": [[float(f"{value:.5g}") for value in draw] for draw in self.draws.tolist()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], name: str = "model") -> FittedModel:
        """The inverse of :meth:`to_dict`; raises ModelError that names ``name`` and what is wrong."""
        if data.get("format") != FORMAT:
            raise ModelError(f"{name}: format {data.get('format')!r} is not {FORMAT!r}; make it again with djscc fit")
        try:
            form = FORMS[data["form"]]
            loss_of_metric(data["metric"])
            parameters = np.array([float(data["parameters"][p]) for p in form.names])
            draws = np.array(data["draws"], np.float64).reshape(-1, len(parameters))
            ratios = np.array(data["ratios"], np.float64)
            low, high = map(float, data["snr_db"])
            quality, held_out = Quality.from_dict(data["fit"]), Quality.from_dict(data["held_out"])
            provenance = dict(data["provenance"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{name}: not a whole model ({error!r}); make it again with djscc fit") from error
        if not (np.isfinite(parameters).all() and np.isfinite(draws).all() and len(ratios) and (ratios > 0).all()):
            raise ModelError(f"{name}: parameters and ratios must be finite numbers; make it again with djscc fit")
        return cls(data["metric"], form, parameters, draws, ratios, (low, high), quality, held_out, provenance)

    def save(self, path: str | Path) -> None:
        """Write the model as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def load(
        cls, path: str | Path, *, metric: str | None = None, codec: str | None = None, channel: str | None = None
    ) -> FittedModel:
        """Read a model from its own file or from the JSON of ``djscc fit``; metric, codec and channel choose among several."""
        return only_model(load_models(path), path, metric=metric, codec=codec, channel=channel)


def only_model(
    models: Sequence[FittedModel],
    path: str | Path,
    *,
    metric: str | None = None,
    codec: str | None = None,
    channel: str | None = None,
) -> FittedModel:
    """The one of the models of a file that metric, codec and channel leave; ModelError where they leave none or several."""
    left = [
        model
        for model in models
        if metric in (None, model.metric)
        and codec in (None, model.provenance.get("codec"))
        and channel in (None, model.provenance.get("channel"))
    ]
    if len(left) == 1:
        return left[0]
    wanted = f"metric {metric or 'any'}, codec {codec or 'any'}, channel {channel or 'any'}"
    if not left:
        raise ModelError(f"{path}: holds no fitted model of {wanted}")
    held = ", ".join(f"{m.metric} of {m.provenance.get('codec')} over {m.provenance.get('channel')}" for m in left)
    raise ModelError(f"{path}: holds {len(left)} models of {wanted} ({held}); name one")


def load_models(path: str | Path) -> list[FittedModel]:
    """All fitted models in a JSON file: a model's own, or what ``djscc fit --json`` wrote."""
    path = Path(path)
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error})") from error
    found: list[FittedModel] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if "format" in node:
                found.append(FittedModel.from_dict(node, str(path)))
            else:
                for child in node.values():
                    walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(data)
    if not found:
        raise ModelError(f"{path}: holds no fitted model; make one with djscc fit RUN --metric psnr --json FILE")
    return found
