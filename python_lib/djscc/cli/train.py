# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc train``: train a codec from a YAML file, or go on with a training that was stopped."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from djscc.cli import options


def add_commands(commands: Any) -> None:
    train = options.command(
        commands,
        "train",
        run_train,
        "train a codec; the same command goes on after a stop",
        f"CONFIG.yaml, or the name of a shipped one ({options.shipped('training')}). Paths in it may use\n"
        "environment variables: EUROSAT is the folder of the EuroSAT tiles in the shipped ones.",
        "EUROSAT=~/data/eurosat djscc train adaptive --out runs/train-adaptive",
    )
    train.add_argument("config", metavar="CONFIG.yaml", help="configuration file, or the name of a shipped one")
    train.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="checkpoints, curve, and the codec when done"
    )
    train.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="replace settings (YAML values)")
    train.add_argument("--device", metavar="NAME", help="cpu or cuda (default: cuda where there is one)")


def run_train(arguments: argparse.Namespace) -> int:
    from djscc.codec.training import train
    from djscc.codec.training_config import TrainingConfig

    config = TrainingConfig.load(options.named_file("training", arguments.config), arguments.set)
    print(train(config, arguments.out, arguments.device))
    return 0
