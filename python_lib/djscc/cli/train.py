# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc train`` and ``train-task``: train a codec or a task from a YAML file, or go on with a training that was stopped."""

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
    task = options.command(
        commands,
        "train-task",
        run_train_task,
        "train a task that received images serve, such as a classifier; the same command goes on after a stop",
        f"CONFIG.yaml, or the name of a shipped one ({options.shipped('task_training')}).\n"
        "Its section `received` trains on images as a codec delivers them; without it they are as they are. Paths in it may use\n"
        "environment variables: EUROSAT is the folder of the EuroSAT tiles in the shipped ones. The finished task is in DIR/task:\n"
        "use it as --task DIR/task, or by name from a folder that DJSCC_TASKS names.",
        "EUROSAT=~/data/eurosat djscc train-task resnet8 --out runs/resnet8",
    )
    for parser, made in ((train, "codec"), (task, "task")):
        parser.add_argument("config", metavar="CONFIG.yaml", help="configuration file, or the name of a shipped one")
        parser.add_argument(
            "--out", required=True, type=Path, metavar="DIR", help=f"checkpoints, curve, and the {made} when done"
        )
        parser.add_argument(
            "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="replace settings (YAML values)"
        )
        parser.add_argument("--device", metavar="NAME", help="cpu or cuda (default: cuda where there is one)")


def run_train(arguments: argparse.Namespace) -> int:
    from djscc.codec.training import train
    from djscc.codec.training_config import TrainingConfig

    config = TrainingConfig.load(options.named_file("training", arguments.config), arguments.set)
    print(train(config, arguments.out, arguments.device))
    return 0


def run_train_task(arguments: argparse.Namespace) -> int:
    from djscc.tasks.training import train
    from djscc.tasks.training_config import TaskTrainingConfig

    config = TaskTrainingConfig.load(options.named_file("task_training", arguments.config), arguments.set)
    print(train(config, arguments.out, arguments.device))
    return 0
