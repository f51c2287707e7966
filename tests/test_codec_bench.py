# SPDX-License-Identifier: GPL-3.0-or-later
"""The codec's benchmarks: tables and what is said of them, frames by content, peaks, runtimes."""

import json

import numpy as np
import pytest
from djscc.codec import bench, runtimes
from djscc.imagery import TileSet


def test_monotone_is_said_of_both_directions():
    table = {"1/12": {"0": 30.0, "8": 33.0}, "1/4": {"0": 32.0, "8": 36.0}}
    assert bench.is_monotone(table) == {"in_snr": True, "in_ratio": True}
    table["1/4"]["0"] = 29.0
    assert bench.is_monotone(table) == {"in_snr": True, "in_ratio": False}
    table["1/12"]["8"] = 30.0
    assert bench.is_monotone(table)["in_snr"] is False


def test_the_distance_is_taken_at_the_other_s_points():
    table = {"1/12": {"-5": 29.0, "0": 32.0, "8": 36.0}, "1/4": {"0": 34.0}}
    ahead = bench.ahead_of(table, {"1/12": {"0": 31.3, "8": 34.5}})
    assert ahead == {"points": {"1/12": {"0": 0.7, "8": 1.5}}, "least": 0.7, "mean": 1.1}


def test_the_least_distance_to_each_link_is_found(tmp_path):
    points = {
        "1/12": {"0": {"psnr_db": -0.5, "psnr_of_mean_mse_db": None}, "8": {"psnr_db": 1.0, "psnr_of_mean_mse_db": 2.0}}
    }
    file = tmp_path / "digital.json"
    file.write_text(json.dumps({"data": "test", "ahead_db": {"equal of avif": points}}))
    found = bench.ahead_of_links(file)["equal of avif"]
    assert found["psnr_db"] == {"least": -0.5, "at": "1/12 at 0 dB", "behind_at": 1}
    assert found["psnr_of_mean_mse_db"] == {"least": 2.0, "at": "1/12 at 8 dB", "behind_at": 0}
    assert bench.ahead_of_links(tmp_path / "none.json") == {}


def test_rate_by_content_gains_in_the_mean_squared_error(codec, landsat):
    """32 Landsat tiles and as many flat ones: what the flat ones save goes to the others."""
    flat = np.full((32, 64, 64, 3), 90, np.uint8) + np.arange(32, dtype=np.uint8)[:, None, None, None]
    tiles = TileSet(np.concatenate([landsat.images[:32], flat]), tuple(map(str, range(64))))
    equal, mse = (bench.send_frames(codec, tiles, 16, 4, choice) for choice in (False, "mse"))
    assert mse["psnr_of_mean_mse_db"] > equal["psnr_of_mean_mse_db"] + 0.5
    assert mse["on_air_ratio"] <= equal["on_air_ratio"]


def test_spreading_lowers_peaks(codec, landsat):
    peaks = bench.peaks(codec, landsat.images[:32])
    assert peaks["symbols_0.0001"] > peaks["symbols_0.001"] > 3
    assert peaks["modulated_0.0001"] < peaks["shaped_0.0001"]


@pytest.mark.parametrize("name", ["eager bfloat16", "ONNX Runtime float32", "OpenVINO float32"])
def test_runtimes_give_what_float32_gives(codec, monkeypatch, name):
    if "eager" not in name:
        pytest.importorskip({"ONNX": "onnxruntime", "OpenVINO": "openvino"}[name.split()[0]])
        pytest.importorskip("onnxscript")
    monkeypatch.setattr(runtimes, "BATCH", 2)
    inputs = runtimes.inputs_of(codec, decoder=False)
    measured = runtimes.compare(codec.encoder, inputs, 1, 10, 100.0, 0.01, only=name)[name]
    assert measured.get("error", 1) < (0.02 if "bfloat16" in name else 1e-4), measured
    assert measured["tiles_per_s"] > 0 and measured["share_of_matmul_rate"] > 0


def test_a_runtime_that_fails_says_why(codec, monkeypatch):
    def broken(*_):
        raise RuntimeError("not here")

    monkeypatch.setattr(runtimes, "BATCH", 2)
    monkeypatch.setattr(runtimes, "in_openvino", broken)
    inputs = runtimes.inputs_of(codec, decoder=True)
    measured = runtimes.compare(codec.decoder, inputs, 1, 10, 100.0, 0.01, only="OpenVINO float32")
    assert "RuntimeError: ['not here']" in measured["OpenVINO float32"]["fails"]
