# SPDX-License-Identifier: GPL-3.0-or-later
"""Content-adaptive rate: budgets are kept, busy tiles get more, and the receiver needs to be told nothing."""

import argparse
import itertools

import numpy as np
import pytest
from djscc.campaign.plan import Plan, PlanError
from djscc.campaign.reception import FrameSink
from djscc.campaign.sender import FrameSource
from djscc.cli.options import add_by_content
from djscc.codec.rate import RateError, RateModel
from djscc.waveform import FrameReport, Modulator, ReceivedFrame

REPORT = FrameReport.exact(10.0)


@pytest.fixture(scope="module")
def mixed(landsat):
    """Busy tiles of a town, and flat ones."""
    flat = np.full((8, 64, 64, 3), 90, np.uint8) + np.arange(8, dtype=np.uint8)[:, None, None, None]
    return np.concatenate([landsat.images[48:56], flat])


@pytest.mark.parametrize("budget", [32, 100, 256, 768])
def test_the_budget_is_kept_and_goes_to_the_busy(codec, mixed, budget):
    layers = codec.rate_model.allocate(mixed, budget)
    assert layers.sum() <= budget and layers.min() >= 2 and layers.max() <= 48
    if 32 < budget < 768:
        assert layers[:8].mean() > 2 * layers[8:].mean()


def test_a_budget_below_the_least_is_refused(codec, mixed):
    with pytest.raises(RateError, match="15 layers for 16 tiles"):
        codec.rate_model.allocate(mixed, 15)


def test_the_allocation_is_as_good_as_any_on_convex_curves(landsat, monkeypatch):
    curves = np.array([[8, 3, 1, 0.5], [4, 3.5, 3.1, 3.0], [9, 8, 7.5, 7.2]])
    model = RateModel((2, 4, 6, 8), np.zeros((21, 4)))
    monkeypatch.setattr(RateModel, "predict", lambda self, tiles, snr: curves)
    for budget in range(6, 25):
        got = model.allocate(landsat.images[:3], budget)
        error = sum(c[n // 2 - 1] for c, n in zip(curves, got, strict=True))
        best = min(
            sum(c[i] for c, i in zip(curves, choice, strict=True))
            for choice in itertools.product(range(4), repeat=3)
            if sum(2 * (i + 1) for i in choice) <= budget
        )
        assert error == pytest.approx(best)


@pytest.mark.parametrize("budget", [6, 11, 18, 24])
def test_psnr_allocates_by_logarithms(landsat, monkeypatch, budget):
    curves = np.array([[8, 2, 0.6, 0.25], [0.4, 0.1, 0.03, 0.01], [9, 8, 7.5, 7.2]])
    model = RateModel((2, 4, 6, 8), np.zeros((21, 4)))
    monkeypatch.setattr(RateModel, "predict", lambda self, tiles, snr: curves)
    got = model.allocate(landsat.images[:3], budget, objective="psnr")
    best = min(
        sum(np.log(c[i]) for c, i in zip(curves, choice, strict=True))
        for choice in itertools.product(range(4), repeat=3)
        if sum(2 * (i + 1) for i in choice) <= budget
    )
    assert sum(np.log(c[n // 2 - 1]) for c, n in zip(curves, got, strict=True)) == pytest.approx(best)
    with pytest.raises(RateError, match="objective 'ssim' is unknown; known are mse, psnr"):
        model.allocate(landsat.images[:3], budget, objective="ssim")


@pytest.mark.parametrize(("tiles", "layers"), [(64, 2), (2, 4), (6, 3), (5, 1)])
def test_where_nothing_is_left_to_choose_all_get_the_same(codec, landsat, tiles, layers):
    """The table of layers would take what the least of every tile needs."""
    header = FrameSource(landsat.take(tiles), codec, layers, by_content="mse").header(0)
    assert header.layers == (layers,) * tiles


def test_psnr_spends_less_unequally_than_mse(codec, landsat):
    """And both objectives reach the frame, from plans and the command line alike: true means mse."""
    headers = {choice: FrameSource(landsat, codec, 16, by_content=choice).header(0) for choice in (True, "mse", "psnr")}
    assert headers[True] == headers["mse"]
    assert np.std(headers["psnr"].layers) < np.std(headers["mse"].layers)
    parser = argparse.ArgumentParser()
    add_by_content(parser)
    assert [parser.parse_args(a.split()).by_content for a in ("", "--by-content", "--by-content psnr")] == [
        False,
        "mse",
        "psnr",
    ]
    for choice in (False, True, "psnr"):
        assert Plan("p", (1 / 12,), (0.0,), by_content=choice).to_dict()["by_content"] == choice
    with pytest.raises(PlanError, match="by_content 'ssim' is unknown"):
        Plan("p", (1 / 12,), (0.0,), by_content="ssim")


def test_a_frame_by_content_costs_no_more_air_and_describes_itself(codec, mixed):
    from djscc.imagery import TileSet

    tiles = TileSet(mixed, tuple(map(str, range(16))))
    equal = FrameSource(tiles, codec, 16)
    chosen = FrameSource(tiles, codec, 16, by_content=True)
    modulator = Modulator()
    assert modulator.on_air_symbols(chosen.header(0)) <= modulator.on_air_symbols(equal.header(0))
    header, payload = next(iter(chosen))
    assert len(set(header.layers)) > 1 and len(payload) == header.payload_symbols
    sink = FrameSink([codec], tiles)
    frame = ReceivedFrame(header, payload, np.full(len(payload), 0.05, np.float32), np.ones(len(payload), bool), REPORT)
    record = sink.accept(frame)
    assert record["layers"] == list(header.layers) and min(t["psnr_db"] for t in record["tiles"]) > 15


def test_a_damaged_model_is_refused(tmp_path):
    with pytest.raises(RateError, match="no rate model"):
        RateModel.load(tmp_path / "rate.json")
    (tmp_path / "rate.json").write_text('{"layers": [2, 4], "coefficients": [[1, 2]]}')
    with pytest.raises(RateError, match="damaged"):
        RateModel.load(tmp_path / "rate.json")
