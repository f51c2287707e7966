# SPDX-License-Identifier: GPL-3.0-or-later
"""What several tests use: the shipped tiles and codec, loaded once."""

import pytest
import torch
from djscc import DATA
from djscc.codec import Codec, load_codec
from djscc.imagery import TileSet, load_tiles

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def landsat() -> TileSet:
    return load_tiles(DATA / "landsat")


@pytest.fixture(scope="session")
def codec() -> Codec:
    return load_codec("adaptive", "lite")
