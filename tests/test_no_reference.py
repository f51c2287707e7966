# SPDX-License-Identifier: GPL-3.0-or-later
"""Quality of received tiles estimated without the originals: the regression, what it is told, and where it lies."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from djscc.campaign.reception import FrameSink
from djscc.campaign.sender import FrameSource
from djscc.codec import load_codec
from djscc.quality import no_reference
from djscc.quality.no_reference import NoReferenceModel, estimate, side_information, terms, texture
from djscc.quality.no_reference_fit import compare, draw
from djscc.quality.no_reference_fit import fit as fit_codec
from djscc.waveform import FrameReport, ReceivedFrame


@pytest.fixture(scope="module")
def own_codec(tmp_path_factory):
    """A copy of the shipped codec, whose folder a test may write to."""
    folder = tmp_path_factory.mktemp("codecs") / "adaptive"
    shutil.copytree(load_codec("adaptive", "lite").folder, folder)
    (folder / no_reference.FILE).unlink(missing_ok=True)
    return folder


def received(codec, tiles, snr_db=5.0):
    """One frame of ``tiles`` over AWGN; two of its tiles lose half and all of their symbols."""
    header, payload = next(iter(FrameSource(tiles, codec, 16)))
    variance = 10 ** (-snr_db / 10)
    noise = np.random.default_rng(7).standard_normal((len(payload), 2)).astype(np.float32).view(np.complex64)[:, 0]
    known = np.ones(len(payload), bool)
    known[: 8 * 64], known[16 * 64 : 32 * 64] = False, False
    arrived = (payload + noise * np.sqrt(variance / 2)).astype(np.complex64)
    full = np.full(len(payload), variance, np.float32)
    return ReceivedFrame(header, arrived, full, known, FrameReport.exact(snr_db))


def test_what_the_regression_is_told_of_each_tile(codec):
    layers, size = (4, 2), 64
    variance = np.concatenate([np.full(256, 1.0), np.full(128, 0.25)]).astype(np.float32)
    known = np.ones(384, bool)
    known[256:320] = False
    share, reliability = side_information(codec, layers, variance, known)
    assert share == pytest.approx([4 / codec.layers, 1 / codec.layers])
    assert reliability == pytest.approx([0.5, 0.8])
    assert size == codec.symbols_per_layer(64, 64)


def test_texture_is_that_of_the_grey_and_finite_for_flat_tiles():
    flat = np.full((1, 64, 64, 3), 77, np.uint8)
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    low, high = texture(np.concatenate([flat, stripes]))
    assert np.isfinite(low).all() and low[:4] == pytest.approx(np.log(1e-6), abs=1e-3)
    assert high[0] == pytest.approx(np.log(0.25), abs=1e-3) and high[1] == pytest.approx(0, abs=1e-3)
    assert high[4] == pytest.approx(np.log(0.25), abs=1e-3) and high[5] == pytest.approx(0, abs=1e-3)


def test_a_known_law_is_found_again():
    rng = np.random.default_rng(3)
    values = rng.uniform(-1, 1, (800, 11))
    law = rng.standard_normal((no_reference.TERMS, 2)) * 0.1
    law[0] = -4
    mse, lpips = np.exp(terms(values) @ law).T
    model = NoReferenceModel.fit(values, mse, lpips, ridge=1e-12)
    again = NoReferenceModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert np.allclose(again.coefficients, law, atol=1e-3)


def test_fitted_beside_a_codec_it_is_logged_and_follows_the_truth(own_codec, landsat):
    assert estimate(load_codec(own_codec, "lite"), landsat.images[:1], (1,), np.ones(64, "f4"), np.ones(64, bool)) == {}
    fit_codec(str(own_codec), landsat.take(24), times=4, seed=1, decoders=("lite",))
    no_reference._load.cache_clear()
    codec = load_codec(own_codec, "lite")
    error = compare(no_reference.model_of(codec), draw(codec, landsat.images[1::5], 2, seed=9))
    assert error["psnr_db"]["mean_absolute_error"] < 3 and error["psnr_db"]["rank_correlation"] > 0.6
    record = FrameSink([codec], landsat.take(10), metrics=("psnr_db",)).accept(received(codec, landsat.take(10)))
    assert "psnr_est_db" not in record["tiles"][1]  # nothing of it arrived
    pairs = [(t["psnr_db"], t["psnr_est_db"]) for t in record["tiles"] if "psnr_est_db" in t]
    assert len(pairs) == 9 and np.abs(np.subtract(*np.array(pairs).T)).mean() < 4
    assert all(0 < t["lpips_est"] < 1.5 for t in record["tiles"] if "lpips_est" in t)
    over_the_air = FrameSink([codec]).accept(received(codec, landsat.take(10)))
    assert [t.get("psnr_est_db") for t in over_the_air["tiles"]] == [t.get("psnr_est_db") for t in record["tiles"]]
    assert "psnr_db" not in over_the_air["tiles"][0]


def test_other_weights_have_no_estimate_and_damage_is_said(own_codec, codec):
    lite = load_codec(own_codec, "lite")
    for other in (
        dataclasses.replace(lite, id=lite.id ^ 1),
        dataclasses.replace(lite, decoder_sha256="0" * 64),
        dataclasses.replace(lite, folder=own_codec.parent),
    ):
        assert no_reference.model_of(other) is None
    damaged = json.dumps(
        {"codec_id": f"{lite.id:08x}", "decoders": {lite.decoder_sha256: {"coefficients": [[1]], "range": [[1]]}}}
    )
    for text in ("{", f'{{"codec_id": "{lite.id:08x}"}}', "[]", damaged):
        (own_codec / no_reference.FILE).write_text(text)
        no_reference._load.cache_clear()
        with pytest.warns(UserWarning, match="quality is not estimated"):
            assert no_reference.model_of(lite) is None


def test_the_shipped_codec_has_its_estimate(landsat):
    """For both of its decoders; refitted when its weights change."""
    for decoder in load_codec("adaptive", "lite").manifest["decoders"]:
        codec = load_codec("adaptive", decoder)
        assert no_reference.model_of(codec) is not None, "python -m djscc.quality.no_reference_fit --data <EuroSAT>"
