# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of the semantic loss L(ratio, SNR): each a formula with bounded parameters that never rises with ratio or SNR.

In every formula r is the ratio k/n, g the SNR (Es/N0) in dB and s = 10^(g/10) the same as a power ratio. Every parameter is
bounded so that the loss is monotone by construction; nothing has to be checked after a fit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

REFERENCE_RATIO = 1 / 12


@dataclass(frozen=True)
class Parameter:
    """One parameter of a form.

    ``scale`` says how it is searched: "linear", "log" (positive, over decades) or "level" (a loss: its bounds are in units of
    the largest measured loss, and the form is linear in it). ``told_by`` says which axis of the log must vary for it to be
    found: "ratio", "snr", or "both" where either will do.
    """

    name: str
    low: float
    high: float
    meaning: str
    scale: Literal["linear", "log", "level"] = "linear"
    told_by: Literal["ratio", "snr", "both"] = "both"


def _level(name: str, meaning: str, high: float = 4.0) -> Parameter:
    return Parameter(name, 0.0, high, meaning, "level")


class Form(ABC):
    """A form of the semantic loss. Subclasses state the formula twice, for people, and once, in ``_loss``, for machines."""

    name: ClassVar[str]
    title: ClassVar[str]
    formula: ClassVar[str]
    latex: ClassVar[str]  # within matplotlib's mathtext
    source: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]

    @abstractmethod
    def _loss(self, p: Mapping[str, Array], r: Array, g: Array) -> Array: ...

    def evaluate(self, parameters: ArrayLike, ratio: ArrayLike, snr_db: ArrayLike) -> Array:
        """The loss at ``ratio`` (k/n > 0) and ``snr_db``, arrays that broadcast to one shape S.

        ``parameters`` (P,) gives S; many sets of parameters at once, (..., P), give (..., *S).
        """
        r, g = np.broadcast_arrays(np.asarray(ratio, np.float64), np.asarray(snr_db, np.float64))
        if np.any(r <= 0):
            raise ValueError(f"ratio {r.min():g}: a ratio k/n is positive")
        columns = np.moveaxis(np.asarray(parameters, np.float64), -1, 0)
        values = {n: c.reshape(c.shape + (1,) * r.ndim) for n, c in zip(self.names, columns, strict=True)}
        with np.errstate(over="ignore", under="ignore", divide="ignore"):
            return np.asarray(self._loss(values, r, g), np.float64)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    def refusal(self, ratios: int, snrs: int, cells: int) -> str | None:
        """Why a log of so many distinct ratios, SNRs and cells cannot tell the parameters, or None where it can."""
        count = len(self.parameters)
        by_ratio = sum(parameter.told_by == "ratio" for parameter in self.parameters)
        by_snr = sum(parameter.told_by == "snr" for parameter in self.parameters)
        if ratios <= max(by_ratio, 1):
            return f"needs at least {max(by_ratio, 1) + 1} ratios, the log has {ratios}"
        if snrs <= max(by_snr, 1):
            return f"needs at least {max(by_snr, 1) + 1} SNRs, the log has {snrs}"
        if cells < count + 3:
            return f"has {count} parameters and needs at least {count + 3} points, the log has {cells}"
        return None


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _capacity(g: Array) -> Array:
    """log2(1 + s), bits per complex symbol of the AWGN channel."""
    return np.log1p(10 ** (g / 10)) / np.log(2)


class SigmoidPlusExponential(Form):
    """A loss of transmission, a sigmoid over SNR, added to a loss of compression, an exponential over ratio."""

    name = "sigmoid_plus_exponential"
    title = "shifted sigmoid plus exponential"
    formula = "a / (1 + exp(b (g - c))) + d exp(-k r) + f"
    latex = r"\frac{a}{1+e^{\,b\,(g-c)}} + d\,e^{-k r} + f"
    source = "the sum named by arXiv 2503.09903, in its most literal reading"
    parameters = (
        _level("a", "height of the sigmoid"),
        Parameter("b", 0.01, 3.0, "slope per dB", "log", "snr"),
        Parameter("c", -30.0, 30.0, "SNR of its middle, dB", "linear", "snr"),
        _level("d", "height of the exponential"),
        Parameter("k", 0.1, 500.0, "decay over ratio", "log", "ratio"),
        _level("f", "loss that remains", 1.0),
    )

    def _loss(self, p: Mapping[str, Array], r: Array, g: Array) -> Array:
        return p["a"] * _sigmoid(-p["b"] * (g - p["c"])) + p["d"] * np.exp(-p["k"] * r) + p["f"]


class SigmoidTimesExponential(Form):
    """The same two losses multiplied: noise costs more where little was sent."""

    name = "sigmoid_times_exponential"
    title = "shifted sigmoid times exponential"
    formula = "(1 / (1 + exp(b (g - c))) + d) (a exp(-k r) + f)"
    latex = r"\left(\frac{1}{1+e^{\,b\,(g-c)}} + d\right)\left(a\,e^{-k r} + f\right)"
    source = "product variant of arXiv 2503.09903"
    parameters = (
        _level("a", "height of the exponential"),
        Parameter("b", 0.01, 3.0, "slope per dB", "log", "snr"),
        Parameter("c", -30.0, 30.0, "SNR of the sigmoid's middle, dB", "linear", "snr"),
        Parameter("d", 0.0, 4.0, "level of the sigmoid factor at high SNR", "linear", "snr"),
        Parameter("k", 0.1, 500.0, "decay over ratio", "log", "ratio"),
        _level("f", "level of the exponential factor at high ratio"),
    )

    def _loss(self, p: Mapping[str, Array], r: Array, g: Array) -> Array:
        return (_sigmoid(-p["b"] * (g - p["c"])) + p["d"]) * (p["a"] * np.exp(-p["k"] * r) + p["f"])


class LogisticWithCrossTerm(Form):
    """A logistic over SNR in dB and the logarithm of the ratio, with their product.

    Monotone for ratios above 1/200 and SNRs above -20 dB, where the slopes are at least b and c; constant below.
    """

    name = "logistic_cross"
    title = "two-dimensional logistic with cross term"
    formula = "a / (1 + exp(b y + c x + h x y - d)) + f,  x = ln(200 r),  y = (g + 20) / 10"
    latex = r"\frac{a}{1+e^{\,b y + c x + h x y - d}} + f,\quad x=\ln(200\,r),\ y=\frac{g+20}{10}"
    source = "two-dimensional extension of the generalised logistic of arXiv 2205.02620"
    parameters = (
        _level("a", "height"),
        Parameter("b", 0.0, 10.0, "slope over SNR per 10 dB, at ratio 1/200", "linear", "snr"),
        Parameter("c", 0.0, 10.0, "slope over ln(ratio), at -20 dB", "linear", "ratio"),
        Parameter("h", 0.0, 10.0, "interaction of ratio and SNR"),
        Parameter("d", -20.0, 40.0, "shift"),
        _level("f", "loss that remains", 1.0),
    )

    def _loss(self, p: Mapping[str, Array], r: Array, g: Array) -> Array:
        x = np.maximum(np.log(200 * r), 0)
        y = np.maximum((g + 20) / 10, 0)
        return p["a"] * _sigmoid(p["d"] - p["b"] * y - p["c"] * x - p["h"] * x * y) + p["f"]


class AlphaBetaGamma(Form):
    """ABG: a Hill function of the SNR whose ceiling is a Hill function of the ratio (in place of quantised bits)."""

    name = "alpha_beta_gamma"
    title = "alpha-beta-gamma (ABG)"
    formula = "a / (1 + (b s)^t) + c / (1 + (d r)^u) + f"
    latex = r"\frac{a}{1+(b s)^{t}} + \frac{c}{1+(d r)^{u}} + f"
    source = "arXiv 2504.21055, with the ratio for the number of bits"
    parameters = (
        Parameter("a", 0.0, 4.0, "height of the SNR term", "level", "snr"),
        Parameter("b", 1e-3, 1e3, "1 / SNR of its middle", "log", "snr"),
        Parameter("t", 0.1, 10.0, "steepness over SNR", "log", "snr"),
        Parameter("c", 0.0, 4.0, "height of the ratio term", "level", "ratio"),
        Parameter("d", 0.1, 1e4, "1 / ratio of its middle", "log", "ratio"),
        Parameter("u", 0.1, 10.0, "steepness over ratio", "log", "ratio"),
        _level("f", "loss that remains", 1.0),
    )

    def _loss(self, p: Mapping[str, Array], r: Array, g: Array) -> Array:
        s = 10 ** (g / 10)
        return p["a"] / (1 + (p["b"] * s) ** p["t"]) + p["c"] / (1 + (p["d"] * r) ** p["u"]) + p["f"]


class RateExponential(Form):
    """An exponential of a rate-like product of ratio and capacity."""

    name = "rate_exponential"
    title = "rate-like exponential"
    formula = "a exp(-b r^c log2(1 + s)^d) + e"
    latex = r"a\,\exp\left(-b\,r^{c}\,\log_2(1+s)^{d}\right) + e"
    source = "this project"
    parameters = (
        _level("a", "loss when nothing arrives"),
        Parameter("b", 1e-2, 1e3, "decay", "log"),
        Parameter("c", 0.02, 5.0, "exponent of the ratio", "log", "ratio"),
        Parameter("d", 0.02, 5.0, "exponent of the capacity", "log", "snr"),
        _level("e", "loss that remains", 1.0),
    )

    def _loss(self, p: Mapping[str, Array], r: Array, g: Array) -> Array:
        return p["a"] * np.exp(-p["b"] * r ** p["c"] * _capacity(g) ** p["d"]) + p["e"]


class RateHill(Form):
    """A Hill function of the same rate-like product; four parameters, for logs of few points."""

    name = "rate_hill"
    title = "rate-like Hill function"
    formula = "a / (1 + b r^c log2(1 + s)^d)"
    latex = r"\frac{a}{1 + b\,r^{c}\,\log_2(1+s)^{d}}"
    source = "this project"
    parameters = (
        _level("a", "loss when nothing arrives"),
        Parameter("b", 1e-2, 1e5, "gain", "log"),
        Parameter("c", 0.02, 10.0, "exponent of the ratio", "log", "ratio"),
        Parameter("d", 0.02, 10.0, "exponent of the capacity", "log", "snr"),
    )

    def _loss(self, p: Mapping[str, Array], r: Array, g: Array) -> Array:
        return p["a"] / (1 + p["b"] * r ** p["c"] * _capacity(g) ** p["d"])


class TwoDistortions(Form):
    """Two distortions that add, as in analogue transmission, and a loss that saturates in their sum.

    The first, (r0/r)^alpha, is what the code leaves out however good the channel; the second is the channel's noise, which
    falls with SNR and, because the decoder averages it over more symbols, with the ratio. What remains at any ratio and SNR, f,
    is the network's own.
    """

    name = "two_distortions"
    title = "two distortions, saturating"
    formula = "a D / (1 + D) + f,  D = (r0 / r)^alpha + 10^(-delta (g - g0) / 10) (12 r)^(-epsilon)"
    latex = r"\frac{a\,D}{1+D} + f,\quad D=\left(\frac{r_0}{r}\right)^{\alpha} + 10^{-\delta\,(g-g_0)/10}\,(12\,r)^{-\epsilon}"
    source = "this project"
    parameters = (
        _level("a", "loss when nothing arrives, above f"),
        Parameter("r0", 1e-6, 10.0, "ratio at which compression alone costs half of a", "log", "ratio"),
        Parameter("alpha", 0.02, 10.0, "exponent of the ratio", "log", "ratio"),
        Parameter("g0", -60.0, 30.0, "SNR at which noise alone costs half of a at ratio 1/12, dB", "linear", "snr"),
        Parameter("delta", 0.02, 10.0, "exponent of the SNR", "log", "snr"),
        Parameter("epsilon", 0.0, 10.0, "exponent of the ratio in the noise"),
        _level("f", "loss that remains", 1.0),
    )

    def _loss(self, p: Mapping[str, Array], r: Array, g: Array) -> Array:
        compression = (p["r0"] / r) ** p["alpha"]
        noise = 10 ** (-p["delta"] * (g - p["g0"]) / 10) * (r / REFERENCE_RATIO) ** -p["epsilon"]
        return p["a"] * (1 - 1 / (1 + compression + noise)) + p["f"]


class BoundedDistortions(Form):
    """Two distortions that add, the source's one bounded, and a loss that saturates in their sum.

    The source's distortion, what the code leaves out however good the channel, is d at ratio 1/12. There it falls with the ratio
    like r^-beta, and the more steeply the more has been sent already: its slope is beta (12 r)^alpha. At alpha = 0 it is the power
    law of :class:`TwoDistortions`, at 1 an exponential; above 0 it is bounded, by d e^(beta / alpha), where nothing is sent. The
    channel's distortion falls with the SNR and, because the decoder averages its noise over more symbols, with the ratio.
    """

    name = "bounded_distortions"
    title = "bounded distortions, saturating"
    formula = (
        "a D / (1 + D) + f,  D = d exp(beta (1 - (12 r)^alpha) / alpha) + 10^(-delta (g - g0) / 10) (12 r)^(-epsilon)"
    )
    latex = (
        r"\frac{a\,D}{1+D} + f,\quad D=d\,\exp\left(\frac{\beta}{\alpha}\left(1-(12\,r)^{\alpha}\right)\right)"
        r" + 10^{-\delta\,(g-g_0)/10}\,(12\,r)^{-\epsilon}"
    )
    source = "this project"
    parameters = (
        _level("a", "loss when nothing arrives, above f"),
        Parameter("d", 1e-4, 1e3, "distortion of the source at ratio 1/12; at 1 it costs half of a", "log", "ratio"),
        Parameter("beta", 0.02, 20.0, "its exponent of the ratio at ratio 1/12", "log", "ratio"),
        Parameter("alpha", 0.0, 4.0, "how much that exponent grows with the ratio", "linear", "ratio"),
        Parameter("g0", -60.0, 30.0, "SNR at which noise alone costs half of a at ratio 1/12, dB", "linear", "snr"),
        Parameter("delta", 0.02, 10.0, "exponent of the SNR", "log", "snr"),
        Parameter("epsilon", 0.0, 10.0, "exponent of the ratio in the noise"),
        _level("f", "loss that remains", 1.0),
    )

    def _loss(self, p: Mapping[str, Array], r: Array, g: Array) -> Array:
        x = np.log(r / REFERENCE_RATIO)
        alpha = np.maximum(p["alpha"], 1e-9)  # the limit at 0, where it is x
        source = p["d"] * np.exp(-p["beta"] * np.expm1(alpha * x) / alpha)
        channel = 10 ** (-p["delta"] * (g - p["g0"]) / 10) * np.exp(-p["epsilon"] * x)
        return p["a"] * (1 - 1 / (1 + source + channel)) + p["f"]


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        SigmoidPlusExponential(),
        SigmoidTimesExponential(),
        LogisticWithCrossTerm(),
        AlphaBetaGamma(),
        RateExponential(),
        RateHill(),
        TwoDistortions(),
        BoundedDistortions(),
    )
}
