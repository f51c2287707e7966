# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics against their definitions and against values of the published implementations."""

import numpy as np
import pytest
import torch
from djscc.quality import Originals, measure, summarise
from djscc.quality.lpips import lpips
from djscc.quality.ssim import ms_ssim, scales, ssim


@pytest.fixture(scope="module")
def pair(landsat):
    rng = np.random.default_rng(3)
    noisy = landsat.images[:6] + rng.normal(0, 12, landsat.images[:6].shape)
    return landsat.images[:6], noisy.clip(0, 255).round().astype(np.uint8)


def test_identical_images_are_perfect(landsat):
    values = measure(landsat.images[:3], landsat.images[:3])
    assert np.allclose(values["mse"], 0) and np.allclose(values["psnr_db"], 99)
    assert np.allclose(values["ssim"], 1) and np.allclose(values["ms_ssim"], 1)
    assert np.allclose(values["lpips"], 0, atol=1e-7)


def test_psnr_is_its_definition(pair):
    x, y = (a.astype(float) for a in pair)
    expected = 10 * np.log10(255**2 / ((x - y) ** 2).mean((1, 2, 3)))
    assert np.allclose(measure(*pair, ["psnr_db"])["psnr_db"], expected, atol=1e-6)


def pictures(size):
    """A pair that any program can make again: smooth waves, and the same with a chequer added."""
    y, x = torch.meshgrid(
        torch.arange(size, dtype=torch.float64), torch.arange(size, dtype=torch.float64), indexing="ij"
    )
    wave = torch.stack([0.5 + 0.4 * torch.sin(x / a + y / 7) for a in (5, 9, 13)])
    return wave[None], (wave + 0.1 * ((x.long() // 3 + y.long() // 3) % 2) - 0.05)[None]


def test_ssim_equals_scikit_image():
    """structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1), skimage 0.26."""
    assert ssim(*pictures(64)).item() == pytest.approx(SKIMAGE_SSIM_64, abs=1e-4)


def test_ms_ssim_equals_pytorch_msssim():
    """pytorch_msssim 1.0.0 at 256 pixels, where all five scales fit."""
    assert ms_ssim(*pictures(256)).item() == pytest.approx(PUBLISHED_MS_SSIM_256, abs=1e-4)


def test_ms_ssim_takes_the_scales_that_fit(pair):
    assert [scales(s, 400) for s in (16, 32, 64, 128, 176, 256)] == [1, 2, 3, 4, 5, 5]
    one, all_of_them = measure(pair[0][:1], pair[1][:1], ["ms_ssim"]), measure(*pair, ["ms_ssim"])
    assert one["ms_ssim"][0] == pytest.approx(all_of_them["ms_ssim"][0], abs=1e-9)


def test_lpips_equals_the_published_package():
    """The values are those of lpips 0.1.4 (net='alex', version 0.1) for the same images."""
    ramp = torch.linspace(0, 1, 64).expand(3, 64, 64)
    checks = ((torch.arange(64)[:, None] // 8 + torch.arange(64)[None] // 8) % 2).float().expand(3, 64, 64)
    a = torch.stack([ramp, checks, ramp.transpose(1, 2)])
    b = torch.stack([ramp.transpose(1, 2), ramp, 0.5 * checks + 0.25])
    assert lpips(a, b).numpy() == pytest.approx(PUBLISHED_LPIPS, abs=1e-4)


def test_what_is_measured_is_within_a_ten_thousandth_of_double_precision(landsat):
    """measure() works in float32 and keeps what belongs to the originals; the functions above were held to the packages."""
    noisy = landsat.images[:8] + np.random.default_rng(4).normal(0, 4, landsat.images[:8].shape)
    received = noisy.clip(0, 255).round().astype(np.uint8)
    x, y = (torch.from_numpy(a / 255).permute(0, 3, 1, 2) for a in (landsat.images[:8], received))
    originals = Originals(landsat.images[:8], batch=5)
    for _ in range(2):  # the second time from what was kept
        values = measure(originals, received)
        assert values["ssim"] == pytest.approx(ssim(y, x).numpy(), abs=2e-5)
        assert values["ms_ssim"] == pytest.approx(ms_ssim(y, x).numpy(), abs=2e-5)
        assert values["lpips"] == pytest.approx(lpips(y.float(), x.float()).numpy(), abs=1e-5)


@pytest.mark.parametrize("size", [(65, 71), (300, 70)])
def test_windows_are_the_same_as_convolutions_or_as_products(size, monkeypatch):
    rng = np.random.default_rng(5)
    a, b = (torch.from_numpy(rng.random((1, 3, *size))) for _ in range(2))
    values = []
    for small in (0, 400):
        monkeypatch.setattr("djscc.quality.ssim.SMALL", small)
        values.append((ssim(a, b).item(), ms_ssim(a, b).item()))
    assert values[0] == pytest.approx(values[1], abs=1e-12)


SKIMAGE_SSIM_64 = 0.774209
PUBLISHED_MS_SSIM_256 = 0.978382
PUBLISHED_LPIPS = (0.510936, 0.870546, 0.79243)


def test_wrong_input_is_named(pair):
    with pytest.raises(ValueError, match="sharpness"):
        measure(*pair, ["sharpness"])
    with pytest.raises(ValueError, match="shape"):
        measure(pair[0], pair[1][:, :32])
    with pytest.raises(ValueError, match="takes 11 x 11"):
        measure(pair[0][:, :8, :8], pair[1][:, :8, :8], ["ssim"])


def test_small_images_have_the_metrics_that_fit(pair):
    assert set(measure(pair[0][:, :16, :16], pair[1][:, :16, :16])) == {"mse", "psnr_db", "ssim", "ms_ssim"}
    assert set(measure(pair[0][:, :9, :9], pair[1][:, :9, :9])) == {"mse", "psnr_db"}


def test_lpips_is_of_one_and_three_bands():
    images = np.random.default_rng(1).integers(0, 256, (2, 2, 64, 64, 4), dtype=np.uint8)
    assert set(measure(*images)) == {"mse", "psnr_db", "ssim", "ms_ssim"}
    assert set(measure(*images[..., :1])) == {"mse", "psnr_db", "ssim", "ms_ssim", "lpips"}


def test_summary_leaves_out_what_was_not_measured():
    assert summarise([{"psnr_db": 20.0}, {"psnr_db": None}, {"psnr_db": 30.0}, {}]) == {"psnr_db": 25.0}
