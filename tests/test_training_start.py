# SPDX-License-Identifier: GPL-3.0-or-later
"""Training from a codec that is there, on recoloured images."""

import dataclasses

import pytest
import torch
from djscc.codec.average import average
from djscc.codec.codec import CodecError
from djscc.codec.training import Model, recolour, start_from, take_over
from djscc.codec.training_config import ConfigError, TrainingConfig
from djscc.codec.weights import load_codec

SHIPPED = TrainingConfig(
    name="again",
    data={},
    layers=48,
    encoder={"family": "adaptive", "channels": 48, "blocks": 3},
    decoders={"lite": {"family": "adaptive", "channels": 64, "blocks": 3}},
    steps=1,
)


def test_training_starts_from_the_weights_of_a_codec():
    model = Model(SHIPPED)
    start_from(model, "adaptive")
    assert model.decoders["lite"].stem.weight.std() > 0.02 and model.encoder.blocks[0].second.weight.abs().max() > 0


def test_a_grown_network_begins_as_the_one_that_it_starts_from():
    grown = dataclasses.replace(SHIPPED, decoders={"lite": {"family": "adaptive", "channels": 64, "blocks": 5}})
    small, large = Model(SHIPPED).decoders["lite"], Model(grown).decoders["lite"]
    for network in (small, large):
        take_over(network, load_codec("adaptive", "lite").decoder.state_dict())
    symbols, reliability = torch.randn((2, 48, 2, 2, 2)), torch.rand((2, 48, 2, 2))
    assert torch.equal(large(symbols, reliability), small(symbols, reliability))
    with pytest.raises(RuntimeError, match=r"blocks\.4"):
        take_over(small, large.state_dict())


def test_a_codec_of_other_networks_is_refused():
    other = dataclasses.replace(SHIPPED, encoder={"family": "adaptive", "channels": 24, "blocks": 3})
    with pytest.raises(ConfigError, match="initial 'adaptive'"):
        start_from(Model(other), "adaptive")
    with pytest.raises(ConfigError, match="initial 'nowhere'"):
        start_from(Model(SHIPPED), "nowhere")


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_recolouring_changes_its_share_of_the_images_and_stays_in_range(bands):
    image = torch.rand((400, bands, 8, 8), generator=torch.Generator().manual_seed(1))
    changed = recolour(image, 0.25, torch.Generator().manual_seed(2))
    share = float((changed != image).flatten(1).any(1).float().mean())
    assert 0.15 < share < 0.35  # 4.6 standard deviations: fails in one of 200,000 seeds
    assert changed.min() >= 0 and changed.max() <= 1
    assert torch.equal(recolour(image, 0.0, torch.Generator().manual_seed(2)), image)


def test_the_average_lies_between_two_weights_and_needs_the_same_networks():
    first, second = (torch.nn.Linear(3, 2) for _ in range(2))
    expected = 0.75 * first.weight + 0.25 * second.weight
    average(first, second, 0.25)
    assert torch.allclose(first.weight, expected)
    with pytest.raises(CodecError, match="different networks"):
        average(first, torch.nn.Linear(4, 2), 0.25)
