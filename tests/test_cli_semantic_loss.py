# SPDX-License-Identifier: GPL-3.0-or-later
"""From a run folder to models, links and figures on the command line: djscc fit, plan and report."""

import json

import pytest
from djscc.cli import main
from PIL import Image
from synthetic_runs import write_run

FORMS = ("--form", "two_distortions", "--form", "rate_hill")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    return write_run(folder, ratios=(1 / 48, 1 / 24, 1 / 12, 1 / 6), tiles=24, pictures=4, metrics=("ssim", "accuracy"))


@pytest.fixture(scope="module")
def model(run):
    """Models of every metric, in one file."""
    path = run.parent / "model.json"
    assert main(["fit", str(run), "--metric", "all", *FORMS, "--json", str(path)]) == 0
    return path


def test_all_metrics_are_fitted_with_one_form(model, run, capsys):
    result = json.loads(model.read_text())
    assert result["unified"]["form"] == "two_distortions"
    assert [fit["metric"] for fit in result["fits"]] == ["ssim", "accuracy", "agreement"]
    assert {fit["selected"] for fit in result["fits"]} == {"two_distortions"}
    assert result["fits"][0]["model"]["provenance"]["runs"] == ["run"]
    assert {(r["source"], r["target"]) for r in result["relations"]} >= {("ssim", "accuracy"), ("accuracy", "ssim")}
    assert '"draws": [\n' in model.read_text() and max(map(len, model.read_text().splitlines())) < 400
    assert main(["fit", str(run), "--metric", "ssim", "--metric", "agreement", *FORMS]) == 0
    text = capsys.readouterr().out
    assert "One form for all of it: two distortions, saturating" in text and "What one metric says of another" in text
    assert "told by" in text and "accuracy" not in text


def test_a_metric_that_is_not_there_is_said(run, capsys):
    assert main(["fit", str(run), "--metric", "ms_ssim"]) == 1
    assert "holds ms_ssim at a known ratio and SNR" in capsys.readouterr().err
    assert main(["fit", str(run), "--metric", "beauty"]) == 1
    assert "metric 'beauty' is not known" in capsys.readouterr().err
    assert main(["fit", str(run), "--metric", "ssim", "--form", "cubic"]) == 1
    assert "form 'cubic' is not known" in capsys.readouterr().err
    assert main(["fit", str(run), "--metric", "all", "--form", "cubic"]) == 1
    assert "form 'cubic' is not known" in capsys.readouterr().err


def test_a_log_without_originals_says_what_is_needed(tmp_path, capsys):
    air = write_run(
        tmp_path / "air", over_the_air=True, channel=None, metrics=(), ratios=(1 / 12,), tiles=3, pictures=0
    )
    assert main(["fit", str(air), "--metric", "all"]) == 1
    assert "no received tile has a metric at a known ratio and SNR; originals are needed" in capsys.readouterr().err


def test_links_are_planned_with_models_from_one_file_or_several(model, run, tmp_path, capsys):
    single = tmp_path / "ssim.json"
    assert main(["fit", str(run), "--metric", "ssim", *FORMS, "--json", str(single)]) == 0
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(
        "{name: two users, power_w: 1, bandwidth_hz: 2e4, deadline_s: 1, noise_density_dbw_hz: -150, users: ["
        "{name: near, gain_db: -100, metric: [ssim, accuracy], wanted: {ssim: 0.7}}, {name: far, gain_db: -104}]}"
    )
    result = tmp_path / "plan.json"
    assert main(["plan", str(model), str(scenario), "--channel", "rician-k10", "--json", str(result)]) == 0
    plan = json.loads(result.read_text())
    assert plan["best"]["gap"] >= 0 and len(plan["baselines"]) == 3 and plan["wanted"] == "the users' values"
    assert plan["best"]["users"][0]["values"].keys() == {"ssim", "accuracy"}
    assert "least bandwidth" in capsys.readouterr().out
    assert main(["plan", str(model), str(single), str(scenario)]) == 1
    assert "there are 2 models of ssim" in capsys.readouterr().err
    assert main(["plan", str(single), str(scenario)]) == 1
    assert "user near needs a model of accuracy" in capsys.readouterr().err
    assert main(["plan", str(model), "no-such-scenario"]) == 1
    assert "shipped are leo-downlink" in capsys.readouterr().err


def test_single_figures(run, tmp_path, capsys):
    square = write_run(tmp_path / "square", ratios=(1 / 24, 1 / 12), tiles=4, pictures=4, metrics=("psnr",))
    scene = ["report", str(square), "--figure", "scene", "--out"]
    assert main([*scene, str(tmp_path / "scene.png"), "--points", "1/12:5", "1/24:-5"]) == 0
    assert main(["report", str(run), "--figure", "loss", "--out", str(tmp_path / "loss.png")]) == 0
    assert all(min(Image.open(tmp_path / f"{kind}.png").size) > 400 for kind in ("scene", "loss"))
    assert main(["report", str(run), "--figure", "pass", "--out", str(tmp_path / "pass.png")]) == 1
    assert "no frames of a satellite pass" in capsys.readouterr().err
    assert main([*scene, str(tmp_path / "x.png"), "--points", "low"]) == 1
    assert "write it as RATIO:DB" in capsys.readouterr().err
    assert main([*scene, str(tmp_path / "x.cubist"), "--points", "1/12:5"]) == 1
    assert "cannot be written as a picture" in capsys.readouterr().err
    other = ["report", str(run), "--figure", "loss", "--series", "other over awgn", "--out", str(tmp_path / "x.png")]
    assert main(other) == 1
    assert "the runs hold 'adaptive over rician-k10'" in capsys.readouterr().err
    capsys.readouterr()
    assert main(["report", str(run), "--points", "1/12:5", "--out", str(tmp_path / "page")]) == 1
    assert "--points says what --figure scene draws" in capsys.readouterr().err
    assert main(["report", str(run), "--figure", "pass", "--series", "a over b", "--out", str(tmp_path / "p.png")]) == 1
    assert "--series says what --figure loss draws" in capsys.readouterr().err
