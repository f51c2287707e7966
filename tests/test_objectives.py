# SPDX-License-Identifier: GPL-3.0-or-later
"""Training objectives: what they are worth, that they can be descended, and that each trains a codec."""

import dataclasses
import json

import pytest
import torch
from djscc.codec.objectives import Objective, TaskDivergence
from djscc.codec.training import train
from djscc.codec.training_config import ConfigError
from djscc.quality import measure
from torch import nn

SHAPE = (3, 64, 64)
EVERY = {"log_mse": 1.0, "mse": 10.0, "ms_ssim": 2.0, "lpips": 0.5}


@pytest.fixture(scope="module")
def images(landsat):
    """Four tiles in [0, 1] and, beside them, noisy ones."""
    original = torch.from_numpy(landsat.images[:4]).permute(0, 3, 1, 2).float() / 255
    noise = 0.1 * torch.randn(original.shape, generator=torch.Generator().manual_seed(1))
    return (original + noise).clamp(0, 1), original


@pytest.mark.parametrize("name", ["mse", "ms_ssim", "lpips"])
def test_it_is_what_quality_measures(images, name):
    decoded, original = (((i * 255).round() / 255) for i in images)
    grey = [(i * 255).round().byte().permute(0, 2, 3, 1).numpy() for i in (original, decoded)]
    measured = measure(*grey, [name])[name].mean()
    expected = 1 - measured if name == "ms_ssim" else measured
    assert float(Objective({name: 2.0}, SHAPE)(decoded, original)) == pytest.approx(2 * expected, rel=1e-4)


def test_the_default_is_the_mean_of_logarithms(images):
    decoded, original = images
    expected = ((decoded - original).square().mean((1, 2, 3)) + 1e-6).log().mean()
    assert torch.equal(Objective({"log_mse": 1.0}, SHAPE)(decoded, original), expected)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_each_can_be_descended_even_from_the_negative(images, name):
    """From the negative picture: contrasts against the original are below 0, where MS-SSIM counts 0."""
    original = images[1]
    for start in (images[0], 1 - original):
        decoded = start.clone().requires_grad_()
        objective = Objective({name: 1.0}, SHAPE)
        before = objective(decoded, original)
        (gradient,) = torch.autograd.grad(before, decoded)
        decoded = decoded.detach()
        assert torch.isfinite(gradient).all()
        if name != "ms_ssim" or start is images[0]:
            after = objective(decoded - 0.02 * gradient / gradient.abs().max(), original)
            assert after.item() < before.item()


def test_a_task_s_answer_is_kept(images):
    torch.manual_seed(1)
    classifier = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(256, 5))
    distance = TaskDivergence(classifier)
    decoded, original = images
    assert float(distance(original, original).abs().max()) < 1e-6
    wanted, got = (classifier(i).softmax(1) for i in (original, decoded))
    expected = (wanted * (wanted / got).log()).sum(1)
    assert torch.allclose(distance(decoded, original), expected, atol=1e-6)
    moved = decoded.clone().requires_grad_()
    assert torch.autograd.grad(distance(moved, original).sum(), moved)[0].abs().max() > 0


def test_a_codec_trains_with_all_of_them(tiny_training, tmp_path, monkeypatch):
    import djscc.tasks

    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(256, 5))
    task = type("Task", (), {"network": network})()
    monkeypatch.setattr(djscc.tasks, "load_task", lambda name, device: task, raising=False)
    config = dataclasses.replace(
        tiny_training, objective=EVERY | {"task": {"land-cover": 0.1}}, steps=12, validate_every=6
    )
    train(config, tmp_path, progress=False)
    curve = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert curve[-1]["ground/8@10dB"] > curve[0]["ground/8@10dB"] + 0.3


@pytest.mark.parametrize(
    ("weights", "shape", "said"),
    [
        ({"psnr": 1}, SHAPE, "objective psnr is unknown; known are log_mse"),
        ({"mse": -1}, SHAPE, "weight -1 must be"),
        ({"mse": "much"}, SHAPE, "weight 'much' must be"),
        ({}, SHAPE, "nothing to minimise"),
        ({"mse": 0}, SHAPE, "nothing to minimise"),
        ({"lpips": 1}, (4, 64, 64), "lpips takes images of 3 bands, the configuration has 4"),
        ({"lpips": 1}, (3, 16, 64), "16 x 64 are below 32 x 32"),
        ({"ms_ssim": 1}, (3, 8, 8), "8 x 8 are below 11 x 11"),
        ({"task": {"x": 1}}, (4, 64, 64), "tasks take images of 3 bands"),
    ],
)
def test_what_cannot_be_is_named(weights, shape, said):
    with pytest.raises(ConfigError, match=said):
        Objective(weights, shape)
