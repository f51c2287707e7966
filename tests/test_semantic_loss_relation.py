# SPDX-License-Identifier: GPL-3.0-or-later
"""What one metric says of another: a rising curve is found again, and what does not follow is told by its error."""

import numpy as np
import pytest
from djscc.semantic_loss import FitError, fit_metric, relate, relations
from djscc.semantic_loss.relation import common_points
from synthetic_runs import tile_records


def fit(tiles, metric):
    return fit_metric(tiles, metric, forms=["rate_hill"], resamples=2)


def test_a_metric_that_follows_another_is_predicted():
    tiles = tile_records(metrics=("lpips",), tiles=20)
    for tile in tiles:
        tile["ssim"] = 1 - (0.05 + 0.8 * tile["lpips"] ** 2 / (tile["lpips"] ** 2 + 0.3**2))
    relation = relate(fit(tiles, "lpips"), fit(tiles, "ssim"))
    assert relation.held_out.r2 > 0.999 and relation.held_out.mape < 0.01
    assert relation.rank_correlation > 0.99 and relation.points == 15
    assert (np.diff(relation.predict(np.linspace(0, 1, 50))) >= 0).all()


def test_a_metric_that_does_not_follow_is_told_by_its_error():
    rng = np.random.default_rng(0)
    noise = {}
    tiles = tile_records(metrics=("lpips",), tiles=4)
    for tile in tiles:
        tile["ssim"] = 1 - noise.setdefault((tile["ratio"], tile["snr_db"]), rng.uniform(0.2, 0.8))
    assert relate(fit(tiles, "lpips"), fit(tiles, "ssim")).held_out.r2 < 0.5


def test_pairs_and_too_few_points():
    fits = [fit(tile_records(tiles=4), metric) for metric in ("psnr", "ssim", "lpips")]
    assert [(r.source, r.target) for r in relations(fits)[:2]] == [("ssim", "psnr"), ("lpips", "psnr")]
    assert len(relations(fits)) == 6 and relations(fits)[0].to_dict()["held_out"]["r2"] > 0.9
    few = [
        fit(tile_records(tiles=4, ratios=(1 / 12, 1 / 24), snrs=(0.0, 5.0, 9.0)), metric) for metric in ("psnr", "ssim")
    ]
    with pytest.raises(FitError, match="6 points hold both psnr and ssim; at least 8"):
        relate(*few)
    assert relations(few) == []


def test_frames_of_a_pass_are_paired_each_with_itself():
    snrs = tuple(np.linspace(0, 1, 41).tolist())  # several within a tenth of a dB
    first = fit(tile_records(tiles=4, ratios=(1 / 12, 1 / 24), snrs=snrs), "psnr")
    second = fit(tile_records(tiles=4, ratios=(1 / 12, 1 / 24), snrs=snrs), "ssim")
    indices = common_points(first.cells, second.cells)
    assert all(np.array_equal(index, np.arange(82)) for index in indices)
