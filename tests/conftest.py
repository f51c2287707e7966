# SPDX-License-Identifier: GPL-3.0-or-later
"""What several tests use: the shipped tiles and codec, loaded once."""

import pytest
import torch
from djscc import DATA
from djscc.codec import Codec, load_codec
from djscc.codec.training_config import TrainingConfig
from djscc.imagery import TileSet, load_tiles
from PIL import Image

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def landsat() -> TileSet:
    return load_tiles(DATA / "landsat")


@pytest.fixture(scope="session")
def codec() -> Codec:
    return load_codec("adaptive", "lite")


@pytest.fixture(scope="session")
def tiny_training(tmp_path_factory, landsat) -> TrainingConfig:
    """A training of a few seconds: a small network, 16 tiles, 24 steps."""
    folder = tmp_path_factory.mktemp("tiles")
    for i, tile in enumerate(landsat.images[:16]):
        Image.fromarray(tile).save(folder / f"{i:02d}.png")
    return TrainingConfig(
        name="tiny",
        data={"train": [str(folder)], "validation": [str(folder)]},
        layers=8,
        encoder={"family": "adaptive", "channels": 8, "blocks": 1},
        decoders={"ground": {"family": "adaptive", "channels": 8, "blocks": 1}},
        layers_sent=(2, 8),
        steps=24,
        batch=8,
        optimiser="muon",
        lr=3e-3,
        warmup=2,
        precision="fp32",
        validate_every=8,
        validation_tiles=16,
        validation_points=[(8, 10.0)],
    )
