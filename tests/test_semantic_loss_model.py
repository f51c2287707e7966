# SPDX-License-Identifier: GPL-3.0-or-later
"""The fitted model as a file: exact round trip, and clear errors for files that are none."""

import dataclasses
import json

import numpy as np
import pytest
from djscc.semantic_loss import FittedModel, ModelError, fit_metric, fit_run_logs, load_models
from synthetic_runs import tile_records


@pytest.fixture(scope="module")
def model():
    tiles = tile_records(metrics=("ssim",), tiles=8)
    return fit_metric(tiles, "ssim", forms=["two_distortions"], resamples=10, provenance={"run": "test"}).model


def test_round_trip(model, tmp_path):
    model.save(tmp_path / "model.json")
    again = FittedModel.load(tmp_path / "model.json")
    plane = np.array([[1 / 48], [1 / 12]]), np.linspace(-5, 15, 9)
    np.testing.assert_array_equal(again.predict(*plane), model.predict(*plane))
    np.testing.assert_allclose(again.interval(*plane), model.interval(*plane), rtol=1e-4)
    assert again.provenance == model.provenance and again.provenance["run"] == "test"
    assert again.provenance["codec"] == "adaptive" and again.provenance["tiles"] == 8
    for found, saved in ((again.quality, model.quality), (again.held_out, model.held_out)):
        assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(saved), rel=1e-5)
    assert again.snr_db == model.snr_db


def test_covers_the_measured_range_only(model):
    assert model.covers([1 / 48, 1 / 12, 1 / 4, 1 / 24], [-5.0, 15.0, 0.0, 16.0]).tolist() == [True, True, False, False]


def test_fit_json_holds_models_that_can_be_named(tmp_path):
    tiles = tile_records(tiles=6) + tile_records(tiles=6, codec="reference")
    reports = [fit_run_logs(tiles, metric, forms=["rate_hill"]).to_dict() for metric in ("ssim", "lpips")]
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(reports, allow_nan=False))
    assert len(load_models(path)) == 4
    assert FittedModel.load(path, metric="lpips", codec="reference").provenance["codec"] == "reference"
    with pytest.raises(ModelError, match="holds 2 models of metric lpips, codec any"):
        FittedModel.load(path, metric="lpips")
    with pytest.raises(ModelError, match="holds no fitted model of metric psnr"):
        FittedModel.load(path, metric="psnr")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "holds no fitted model"),
        ('{"format": "djscc semantic loss 9"}', "format 'djscc semantic loss 9' is not"),
        ('{"format": "djscc semantic loss 1", "form": "cubic"}', "not a whole model"),
    ],
)
def test_bad_files_are_named(content, message, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ModelError, match=message) as error:
        FittedModel.load(path)
    assert "bad.json" in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.json: cannot be read"):
        FittedModel.load(tmp_path / "nowhere.json")


def test_damaged_numbers_are_refused(model, tmp_path):
    data = model.to_dict()
    data["parameters"]["a"] = float("nan")
    path = tmp_path / "nan.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match="must be finite"):
        FittedModel.load(path)
