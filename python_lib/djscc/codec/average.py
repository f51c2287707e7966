# SPDX-License-Identifier: GPL-3.0-or-later
"""Average the weights of two codecs of the same networks: ``python -m djscc.codec.average FIRST SECOND --share 0.4 --out DIR``.

A codec that was trained on from another one, on other images, has its gain on those and a loss on the first; between the two
weights most of the gain is had for little of the loss (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
The average is validated on the tiles of SECOND's configuration, and its rate model is fitted anew.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

from djscc.codec.codec import CodecError
from djscc.codec.rate import RATE_FILE
from djscc.codec.rate_fit import fit_rate_model
from djscc.codec.training import RATE_TILES, Model, start_from, tiles_of, validate
from djscc.codec.training_config import TrainingConfig
from djscc.codec.weights import load_codec, save_codec
from djscc.errors import DjsccError


def average(first: nn.Module, second: nn.Module, share: float) -> None:
    """Make the weights of ``first`` those of (1 - ``share``) ``first`` + ``share`` ``second``; CodecError where shapes differ."""
    mine, other = first.state_dict(), second.state_dict()
    if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in other.items()}:
        raise CodecError("the two codecs have different networks; only weights of the same networks can be averaged")
    first.load_state_dict({k: torch.lerp(v, other[k], share) for k, v in mine.items()})


def average_codecs(first: str, second: str, share: float, out: Path) -> Path:
    """Write the average of two codecs, by name or folder, to folder ``out``."""
    manifests = [load_codec(name).manifest for name in (first, second)]
    training = dict(manifests[1]["training"])
    tiles_seen = training.pop("tiles_seen")
    training.pop("averaged", None)
    config = TrainingConfig(**training)
    models = [Model(config), Model(config)]
    for model, name in zip(models, (first, second), strict=True):
        start_from(model, name)
    average(models[0], models[1], share)
    metrics = validate(models[0], tiles_of(config.data["validation"], config.bands), config, torch.device("cpu"))
    averaged = {"of": [m["id"] for m in manifests], "shares": [1 - share, share]}
    decoders = dict(models[0].decoders.items())
    save_codec(out, models[0].encoder, decoders, training | {"averaged": averaged}, metrics, tiles_seen)
    images = tiles_of(config.data["train"], config.bands)
    sample = images[:: max(1, len(images) // RATE_TILES)].permute(0, 2, 3, 1).contiguous().numpy()
    fit_rate_model(load_codec(out, list(config.decoders)[-1]), sample).save(out / RATE_FILE)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.codec.average", description=__doc__)
    parser.add_argument("first", help="codec, by name or folder")
    parser.add_argument("second", help="codec, by name or folder")
    parser.add_argument("--share", type=float, default=0.5, help="share of the second (default: 0.5)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new codec")
    arguments = parser.parse_args()
    try:
        print(average_codecs(arguments.first, arguments.second, arguments.share, arguments.out))
    except DjsccError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
