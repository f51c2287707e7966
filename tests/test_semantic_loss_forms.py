# SPDX-License-Identifier: GPL-3.0-or-later
"""Forms of the semantic loss: monotone, bounded, and true to their formulas."""

import math

import numpy as np
import pytest
from djscc.semantic_loss import FORMS, LOSSES, MetricError, loss_of_metric
from djscc.semantic_loss.losses import metrics_of
from matplotlib.mathtext import MathTextParser

RATIOS = np.geomspace(1 / 200, 1, 25)
SNRS_DB = np.linspace(-20, 30, 51)


def random_parameters(form, rng, count):
    draws = []
    for _ in range(count):
        draws.append(
            [
                math.exp(rng.uniform(math.log(p.low), math.log(p.high)))
                if p.scale == "log"
                else rng.uniform(p.low, p.high)
                for p in form.parameters
            ]
        )
    return draws


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_loss_never_rises_with_ratio_or_snr_anywhere_in_the_bounds(form):
    for parameters in random_parameters(form, np.random.default_rng(0), 200):
        loss = form.evaluate(parameters, RATIOS[:, None], SNRS_DB)
        assert np.isfinite(loss).all() and (loss >= 0).all()
        tolerance = 1e-12 * loss.max()
        assert (np.diff(loss, axis=0) <= tolerance).all()
        assert (np.diff(loss, axis=1) <= tolerance).all()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_loss_is_linear_in_the_levels(form):
    (parameters,) = random_parameters(form, np.random.default_rng(1), 1)
    doubled = [2 * v if p.scale == "level" else v for p, v in zip(form.parameters, parameters, strict=True)]
    loss = form.evaluate(parameters, RATIOS[:, None], SNRS_DB)
    np.testing.assert_allclose(form.evaluate(doubled, RATIOS[:, None], SNRS_DB), 2 * loss, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_formula_in_words_is_the_formula_in_code(form):
    """The plain text is evaluated with Python's arithmetic; the mathtext must at least parse."""
    import re

    (parameters,) = random_parameters(form, np.random.default_rng(2), 1)
    names = dict(zip(form.names, parameters, strict=True))
    r, g = 1 / 12, 7.0
    known = names | {"r": r, "g": g, "s": 10 ** (g / 10), "exp": math.exp, "ln": math.log, "log2": math.log2}

    def arithmetic(text):
        text = text.strip().replace("^", "**")
        text = re.sub(r"(?<=[\w)])\s+(?=[\w(])", "*", text)  # a space between factors is a product
        return re.sub(r"\b(exp|ln|log2)\*\(", r"\1(", text)

    main, *definitions = re.split(r",\s+", form.formula)
    for definition in reversed(definitions):
        name, expression = definition.split("=", 1)
        known[name.strip()] = eval(arithmetic(expression), {}, known)  # text of the library's own
    value = eval(arithmetic(main), {}, known)
    assert float(form.evaluate(parameters, r, g)) == pytest.approx(value, rel=1e-9)
    MathTextParser("path").parse(f"${form.latex}$")


def test_refusals_say_what_is_missing():
    form = FORMS["alpha_beta_gamma"]
    assert form.refusal(6, 11, 66) is None
    assert "4 ratios, the log has 3" in form.refusal(3, 5, 15)
    assert "4 SNRs, the log has 2" in form.refusal(6, 2, 12)
    assert "10 points, the log has 9" in form.refusal(4, 4, 9)
    for other in FORMS.values():
        assert other.refusal(1, 11, 11) is not None
        assert other.refusal(6, 1, 6) is not None


def test_ratio_must_be_positive():
    with pytest.raises(ValueError, match="ratio 0"):
        FORMS["rate_hill"].evaluate([1, 1, 1, 1], [0.0, 0.1], 3.0)


@pytest.mark.parametrize(
    ("metric", "tile", "loss", "value"),
    [
        ("psnr", {"psnr_db": 20 * math.log10(255)}, 0.0, 20 * math.log10(255)),
        ("psnr", {"psnr_db": 0.0}, 1.0, 0.0),
        ("psnr", {"psnr_db": 99.0}, 1 - 99 / (20 * math.log10(255)), 99.0),  # means stay those of the PSNRs
        ("mse", {"mse": 0.01}, 0.01, 0.01),
        ("mse", {"psnr_db": 20.0}, 0.01, 0.01),
        ("ssim", {"ssim": 0.9}, 0.1, 0.9),
        ("ms_ssim", {"ms_ssim": 0.97}, 0.03, 0.97),
        ("lpips", {"lpips": 0.2}, 0.2, 0.2),
        ("accuracy", {"tasks": {"t": {"label": "Forest", "decision": "Forest"}}}, 0.0, 1.0),
        ("accuracy", {"tasks": {"t": {"label": "Forest", "decision": "River"}}}, 1.0, 0.0),
        ("agreement", {"tasks": {"t": {"original": "Forest", "decision": "River"}}}, 1.0, 0.0),
        ("task_loss", {"tasks": {"t": {"decision": "River", "loss": 0.3}}}, 0.3, 0.3),
    ],
)
def test_losses(metric, tile, loss, value):
    assert LOSSES[metric].of(tile) == pytest.approx(loss, abs=1e-12)
    assert LOSSES[metric].value(loss) == pytest.approx(value)


@pytest.mark.parametrize("metric", LOSSES)
def test_a_record_without_the_metric_has_no_loss(metric):
    assert LOSSES[metric].of({"index": 0, "name": "a.png"}) is None
    assert (
        LOSSES[metric].of({"psnr_db": None, "mse": None, "ssim": float("nan"), "tasks": {"t": {"decision": "a"}}})
        is None
    )


def test_metrics_of_several_tasks_are_told_apart():
    tile = {"psnr_db": 30.0, "tasks": {"a": {"decision": "x", "label": "x"}, "b": {"decision": "x", "label": "y"}}}
    assert (loss_of_metric("accuracy:a").of(tile), loss_of_metric("accuracy:b").of(tile)) == (0.0, 1.0)
    with pytest.raises(MetricError, match=r"holds the tasks a, b: say of which, like accuracy:a"):
        loss_of_metric("accuracy").of(tile)
    assert metrics_of([tile], ["psnr", "accuracy"]) == ["psnr", "accuracy:a", "accuracy:b"]
    assert metrics_of([{"tasks": {"a": {}}}], ["accuracy"]) == ["accuracy"]
    with pytest.raises(MetricError, match=r"'ssim:a' is not known"):
        loss_of_metric("ssim:a")


def test_unknown_metric_names_the_known():
    with pytest.raises(MetricError, match=r"'pnsr' is not known; choose one of psnr, mse"):
        loss_of_metric("pnsr")
