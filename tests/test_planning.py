# SPDX-License-Identifier: GPL-3.0-or-later
"""Link planning: against exhaustive search, against its baselines, its inverse, and the errors of scenarios."""

import contextlib
import dataclasses
import itertools
import math

import numpy as np
import pytest
import yaml
from djscc import DATA
from djscc.planning import ScenarioError, load_scenario, parse_scenario, plan_links
from djscc.planning.allocation import least_energies, max_min
from djscc.planning.baselines import water_fill
from djscc.planning.options import all_options
from djscc.semantic_loss import FORMS, FittedModel, Quality
from synthetic_runs import PARAMETERS, SURFACE

RATIOS = (1 / 48, 1 / 24, 1 / 12, 1 / 6)
NOTHING = Quality(1.0, 0.0, 0.0, 0.0)


def make_model(metric="ssim", draws=0, channel="awgn"):
    parameters = np.array(PARAMETERS[metric])
    spread = np.random.default_rng(0).normal(1, 0.03, (draws, len(parameters)))
    return FittedModel(
        metric,
        FORMS[SURFACE],
        parameters,
        parameters * spread,
        np.array(RATIOS),
        (-5.0, 15.0),
        NOTHING,
        NOTHING,
        {"codec": "c", "channel": channel},
    )


def make_scenario(users, **changes):
    return parse_scenario(
        {
            "name": "test",
            "power_w": 1.0,
            "bandwidth_hz": 20e3,
            "deadline_s": 1.0,
            "noise_density_dbw_hz": -150.0,
            "users": users,
        }
        | changes
    )


def random_scenario(rng, users=3, **changes):
    return make_scenario(
        [
            {
                "name": f"u{i}",
                "gain_db": float(rng.uniform(-112, -98)),
                "weight": float(rng.uniform(0.5, 2)),
                "margin_db": float(rng.uniform(0, 3)),
                "images": int(rng.integers(1, 4)),
            }
            for i in range(users)
        ],
        **{"bandwidth_hz": float(rng.uniform(4e3, 16e3)), **changes},
    )


def least_snr(model, ratio, loss):
    """The least SNR in dB for a loss, by the inverse of two_distortions, within the measured range; inf where it is above."""
    a, r0, alpha, g0, delta, epsilon, f = model.parameters
    low, high = model.snr_db
    if loss >= float(model.predict(ratio, low)):
        return low
    noise = (loss - f) / (a + f - loss) - (r0 / ratio) ** alpha
    snr = g0 - 10 / delta * math.log10(noise * (12 * ratio) ** epsilon) if noise > 0 else math.inf
    return snr if snr <= high + 1e-12 else math.inf


def exhaustive(scenario, model):
    """The best level by trying every combination of ratios, each with powers found on the continuous SNR. None: infeasible."""
    best = None
    for ratios in itertools.product(RATIOS, repeat=len(scenario.users)):
        symbols = [round(r * u.samples) for r, u in zip(ratios, scenario.users, strict=True)]
        pairs = list(zip(scenario.users, ratios, symbols, strict=True))

        def energy(level, pairs=pairs):
            return sum(
                count
                * scenario.noise_density_w_hz
                * 10 ** ((least_snr(model, ratio, (1 - level) / user.weight) + user.margin_db - user.gain_db) / 10)
                for user, ratio, count in pairs
            )

        bottom, top = (min(1 - u.weight * float(model.predict(r, end)) for u, r, _ in pairs) for end in model.snr_db)
        if sum(symbols) > scenario.symbols or energy(bottom) > scenario.energy_j:
            continue
        if energy(top - 1e-9) <= scenario.energy_j:
            bottom = top
        for _ in range(40):
            middle = (bottom + top) / 2
            bottom, top = (middle, top) if energy(middle) <= scenario.energy_j else (bottom, middle)
        best = bottom if best is None else max(best, bottom)
    return best


def test_max_min_is_what_exhaustive_search_finds():
    """12 scenarios of 3 users x 4 ratios. The grid of 0.01 dB costs at most the level of one step; the bound holds always."""
    rng, model, solved = np.random.default_rng(1), make_model(), 0
    for _ in range(12):
        scenario = random_scenario(rng)
        truth = exhaustive(scenario, model)
        found = max_min(all_options(scenario, [model]), scenario)
        if truth is None:
            assert found is None
            continue
        solved += 1
        assert found.performance <= truth + 1e-6
        assert found.performance == pytest.approx(truth, abs=2e-3)
        assert truth <= found.bound + 1e-6
        assert found.gap >= 0 and found.gap < 4e-3
        assert found.power_w <= scenario.power_w * (1 + 1e-6) and found.bandwidth_hz <= scenario.bandwidth_hz + 1e-6
    assert solved >= 6  # enough of them can be served


def test_no_baseline_is_better():
    rng, model, gains = np.random.default_rng(2), make_model(), []
    for _ in range(20):
        scenario = random_scenario(rng, users=5, bandwidth_hz=20e3, power_w=3.0)
        try:
            plan = plan_links(model, scenario)
        except ScenarioError:
            continue
        for baseline in plan.baselines:
            assert baseline.performance <= plan.best.bound + 1e-9
            assert baseline.power_w <= scenario.power_w * (1 + 1e-9)
            assert baseline.bandwidth_hz <= scenario.bandwidth_hz * (1 + 1e-9)
        gains.append(plan.best.performance - max(b.performance for b in plan.baselines))
    assert len(gains) >= 10 and np.mean(gains) > 0.05


def test_one_user_gets_everything():
    model = make_model()
    plan = plan_links(model, make_scenario([{"name": "only", "gain_db": -104}], bandwidth_hz=10e3))
    (share,) = plan.best.shares
    best_by_hand = max(
        1 - float(model.predict(r, min(15.0, 10 * math.log10(1.0 / 1.15 / round(r * 12288) / 1e-15) - 104)))
        for r in RATIOS
        if round(r * 12288) <= 10e3 / 1.25 / 1.15
    )
    assert share.performance == pytest.approx(best_by_hand, abs=1e-3)
    assert [b.performance for b in plan.baselines[:2]] == pytest.approx([best_by_hand] * 2, abs=1e-3)


def test_heavier_users_lose_less_and_worse_channels_get_more():
    users = [
        {"name": "near", "gain_db": -100},
        {"name": "heavy", "gain_db": -100, "weight": 3},
        {"name": "far", "gain_db": -108},
    ]
    near, heavy, far = plan_links(make_model(), make_scenario(users, bandwidth_hz=30e3)).best.shares
    assert heavy.loss < 0.5 * near.loss
    assert far.power_w > near.power_w


def test_worst_case_margin_and_confidence_cost_performance():
    users = [{"name": "a", "gain_db": -104}, {"name": "b", "gain_db": -107}]
    model = make_model(draws=100)
    plain = plan_links(model, make_scenario(users)).best.performance
    margin = plan_links(model, make_scenario([u | {"margin_db": 3} for u in users])).best.performance
    confident = plan_links(model, make_scenario(users, confidence=0.95)).best.performance
    assert margin < plain and confident < plain


def test_users_of_different_tasks():
    users = [
        {"name": "viewer", "gain_db": -103, "metric": "psnr"},
        {"name": "classifier", "gain_db": -106, "metric": "accuracy"},
    ]
    plan = plan_links([make_model("psnr"), make_model("accuracy")], make_scenario(users))
    viewer, classifier = plan.best.shares
    assert 20 < viewer.value < 45  # dB
    assert 0 < classifier.value < 1
    with pytest.raises(
        ScenarioError, match=r"user classifier needs a model of accuracy \(there is psnr of c over awgn\)"
    ):
        plan_links(make_model("psnr"), make_scenario(users))


def test_a_user_with_several_metrics_is_as_well_off_as_its_worst():
    """A picture to look at and to classify: the worst of both counts, each with its own weight."""
    models = [make_model("ssim"), make_model("accuracy")]

    def plan(metric):
        return plan_links(models, make_scenario([{"name": "a", "gain_db": -104, "metric": metric}])).best.shares[0]

    both, ssim = plan(["ssim", "accuracy"]), plan("ssim")
    assert both.performance == min(1 - (1 - both.values["ssim"]), 1 - (1 - both.values["accuracy"]))
    assert both.performance <= ssim.performance + 1e-9
    heavy = plan({"ssim": 1, "accuracy": 5})
    assert heavy.metric == "accuracy" and heavy.performance == pytest.approx(1 - 5 * (1 - heavy.values["accuracy"]))


def test_users_name_the_channel_whose_model_is_theirs():
    models = [make_model(channel="awgn"), make_model("lpips", channel="rician-k100")]
    models[1] = dataclasses.replace(models[1], metric="ssim")
    users = [
        {"name": "a", "gain_db": -104, "channel": "awgn"},
        {"name": "b", "gain_db": -104, "channel": "rician-k100"},
    ]
    first, second = all_options(make_scenario(users), models)
    assert first.models["ssim"] is models[0] and second.models["ssim"] is models[1]
    with pytest.raises(ScenarioError, match="user a needs a model of ssim of rayleigh"):
        all_options(make_scenario([users[0] | {"channel": "rayleigh"}]), models)


def test_wanted_values_take_the_least_power_and_bandwidth():
    models = [make_model("psnr"), make_model("accuracy")]
    users = [
        {"name": "viewer", "gain_db": -103, "metric": "psnr", "wanted": 28},
        {"name": "both", "gain_db": -104, "metric": ["psnr", "accuracy"], "wanted": {"accuracy": 0.8}},
    ]
    plan = plan_links(models, make_scenario(users, power_w=5.0, bandwidth_hz=30e3))
    for found in (plan.least_power, plan.least_bandwidth):
        viewer, both = found.shares
        assert viewer.values["psnr"] >= 28 - 1e-6 and both.values["accuracy"] >= 0.8 - 1e-6
    assert plan.least_power.power_w < 5 and plan.least_power.shares[0].values["psnr"] < 28.05
    assert plan.least_bandwidth.bandwidth_hz <= plan.least_power.bandwidth_hz
    text = plan.table()
    assert "least power for the users' values" in text and "least bandwidth for the users' values" in text
    beyond = plan_links(models, make_scenario([users[0] | {"wanted": 47}]))
    assert beyond.least_power is None and "cannot be had" in beyond.table()


def test_inverse_gives_back_what_it_was_asked_for():
    rng, model = np.random.default_rng(4), make_model()
    scenario = random_scenario(rng, bandwidth_hz=12e3, power_w=3.0)
    best = plan_links(model, scenario).best
    at_best = plan_links(model, scenario, wanted=best.performance)
    assert at_best.least_power.performance >= best.performance - 1e-8
    assert at_best.least_power.power_w <= best.power_w * (1 + 1e-6)
    less = plan_links(model, scenario, wanted=best.performance - 0.1)
    assert less.least_power.power_w < at_best.least_power.power_w
    assert less.least_power.performance >= best.performance - 0.1
    assert less.least_bandwidth.bandwidth_hz <= less.least_power.bandwidth_hz
    assert less.least_bandwidth.power_w <= scenario.power_w * (1 + 1e-5)
    # with exactly that power or bandwidth the wanted performance is what max-min reaches
    users = [dict(vars(user)) for user in scenario.users]
    tight = make_scenario(users, bandwidth_hz=scenario.bandwidth_hz, power_w=less.least_power.power_w * (1 + 1e-9))
    assert plan_links(model, tight).best.performance == pytest.approx(best.performance - 0.1, abs=2e-3)
    narrow = make_scenario(users, bandwidth_hz=less.least_bandwidth.bandwidth_hz * 0.999, power_w=3.0)
    with contextlib.suppress(ScenarioError):  # narrower still, not all users may fit
        assert plan_links(model, narrow).best.performance < best.performance - 0.1
    impossible = plan_links(model, scenario, wanted=0.9999)
    assert impossible.least_power is None and impossible.least_bandwidth is None


def test_least_power_is_least_when_bandwidth_binds():
    """The integer programme, not the greedy choice, decides here: all combinations are tried for comparison."""
    rng, model, bound = np.random.default_rng(6), make_model(), 0
    for _ in range(20):
        scenario = random_scenario(rng, power_w=1e6)
        options = all_options(scenario, [model])
        level = 0.7
        tables = [least_energies(o, level) for o in options]
        fits = [
            sum(t[c] for t, c in zip(tables, choice, strict=True))
            for choice in itertools.product(range(len(RATIOS)), repeat=3)
            if sum(o.symbols[c] for o, c in zip(options, choice, strict=True)) <= scenario.symbols
        ]
        least = min(fits, default=math.inf)
        found = plan_links(model, scenario, wanted=level).least_power
        if not math.isfinite(least):
            assert found is None
            continue
        assert found.power_w == pytest.approx(least * 1.15, rel=1e-5)
        bound += least > sum(t.min() for t in tables) * 1.001
    assert bound >= 3


def test_water_filling_is_level():
    rng = np.random.default_rng(3)
    gains, symbols = rng.exponential(size=6), rng.uniform(1, 5, 6)
    energies = water_fill(gains, symbols, 4.0)
    assert energies.sum() == pytest.approx(4.0) and (energies >= 0).all()
    levels = energies / symbols + 1 / gains
    wet = energies > 0
    assert np.ptp(levels[wet]) < 1e-9 and (1 / gains[~wet] >= levels[wet].min() - 1e-9).all()
    assert water_fill(np.array([1.0, 1e-9]), np.ones(2), 1.0).tolist() == [1.0, 0.0]


def test_what_cannot_be_served_is_said():
    users = [{"name": "a", "gain_db": -104, "images": 1000}]
    with pytest.raises(ScenarioError, match="13913 payload symbols fit into bandwidth and deadline, 256000 are needed"):
        plan_links(make_model(), make_scenario(users))
    with pytest.raises(ScenarioError, match=r"1 W do not bring all users .* W would"):
        plan_links(make_model(), make_scenario([{"name": "a", "gain_db": -180}]))
    with pytest.raises(ScenarioError, match=r"ratio 0\.5 is outside"):
        plan_links(make_model(), make_scenario([{"name": "a", "gain_db": -100}], ratios=["1/2"]))
    with pytest.raises(ScenarioError, match="no intervals"):
        plan_links(make_model(), make_scenario([{"name": "a", "gain_db": -100}], confidence=0.9))
    with pytest.raises(ScenarioError, match=r"user a: there are 2 models of ssim .* name the user's codec and channel"):
        plan_links([make_model(), make_model()], make_scenario([{"name": "a", "gain_db": -100}]))


def test_shipped_scenario_plans():
    scenario = load_scenario(DATA / "scenarios" / "leo-downlink.yaml")
    plan = plan_links(make_model(draws=50), scenario, wanted=0.5)
    assert plan.best.performance > max(b.performance for b in plan.baselines)
    assert plan.least_power.power_w < scenario.power_w
    text = plan.table()
    assert "max-min" in text and "flood mapping" in text and "no allocation reaches" in text
    assert yaml.safe_load(yaml.safe_dump(plan.to_dict()))["best"]["users"][0]["user"] == "overhead pass"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"power": 1}, "key 'power' is not known; known are name, power_w"),
        ({"power_w": "lots"}, "power_w: 'lots' is not a number"),
        ({"power_w": -1}, "power_w: -1 is not between"),
        ({"users": []}, "users: give a list"),
        ({"users": [{"name": "a"}]}, "user 1: key 'gain_db' is missing"),
        ({"users": [{"name": "a", "gain_db": 0, "metric": "beauty"}]}, "metric: 'beauty' is not known"),
        ({"users": [{"name": "a", "gain_db": 0, "images": 1.5}]}, "images: 1.5 is not a whole number"),
        (
            {"users": [{"name": "a", "gain_db": 0, "image": [64, 64]}]},
            r"image: \[64, 64\] is not \[height, width, bands\]",
        ),
        ({"users": [{"name": "a", "gain_db": 0}, {"name": "a", "gain_db": 1}]}, "the name 'a' stands twice"),
        ({"users": ["a"]}, "user 1: is no mapping"),
        ({"users": [{"name": "a", "gain_db": 0, "metric": []}]}, "metric: name at least one of"),
        ({"users": [{"name": "a", "gain_db": 0, "metric": {"ssim": 0}}]}, "metric, ssim: 0 is not between"),
        ({"users": [{"name": "a", "gain_db": 0, "wanted": {"psnr": 30}}]}, "wanted: 'psnr' is not one of this user's"),
        (
            {"users": [{"name": "a", "gain_db": 0, "metric": ["ssim", "psnr"], "wanted": 1}]},
            "is for which of ssim, psnr",
        ),
        ({"ratios": ["1/12", "x"]}, "ratios: .*'x'"),
        ({"confidence": 2}, "confidence: 2 is not between"),
    ],
)
def test_scenario_errors_name_the_key(change, message, tmp_path):
    whole = {
        "name": "s",
        "power_w": 1,
        "bandwidth_hz": "2e6",
        "deadline_s": 1,
        "users": [{"name": "a", "gain_db": -100}],
    }
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(whole))
    assert load_scenario(path).bandwidth_hz == 2e6
    path.write_text(yaml.safe_dump(whole | change))
    with pytest.raises(ScenarioError, match=message) as error:
        load_scenario(path)
    assert "scenario.yaml" in str(error.value)


def test_scenario_files_that_are_none(tmp_path):
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(tmp_path / "nowhere.yaml")
    (tmp_path / "bad.yaml").write_text("users: [")
    with pytest.raises(ScenarioError, match="not YAML"):
        load_scenario(tmp_path / "bad.yaml")
    with pytest.raises(ScenarioError, match="'bandwidth_hz' is missing"):
        parse_scenario({"name": "s", "power_w": 1})
