# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc acm``: the closed loop over a link that varies, against fixed ratios."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from djscc.cli import options


def add_commands(commands: Any) -> None:
    acm = options.command(
        commands,
        "acm",
        run_acm,
        "compare a ratio that follows the link, for a wanted quality, with fixed ratios",
        f"""\
        Sends frames over a satellite pass or a fading channel: with every fixed ratio, with the ratio that a controller chooses
        from late SNR reports by a semantic-loss model, and with foreknowledge. A frame's quality is that of the tiles at its mean
        Es/N0, measured first. Without MODEL.json the model is fitted to these measurements.
        Channels: {options.shipped("channels")}, or a YAML file.""",
        "djscc acm --channel leo-600km-x-band --fading rician-k10 --wanted 30 --plot acm.png",
    )
    acm.add_argument("model", nargs="?", metavar="MODEL.json", help="model that `djscc fit --json` wrote")
    acm.add_argument(
        "--wanted", type=options.number, required=True, metavar="Q", help="quality to reach, such as 30 (dB)"
    )
    acm.add_argument("--metric", default="psnr", help="psnr, ssim, ms_ssim, lpips or mse (default: psnr)")
    acm.add_argument("--model-channel", metavar="NAME", help="over which channel, where it holds models over several")
    acm.add_argument("--channel", default="leo-600km-x-band", metavar="NAME", help="default: leo-600km-x-band")
    acm.add_argument("--fading", metavar="NAME", help="take the fading of this channel")
    acm.add_argument("--snr", type=options.decibels, metavar="DB", help="mean Es/N0, or the largest of the pass")
    acm.add_argument(
        "--delay",
        type=options.number,
        metavar="S",
        help="age of a report; default: the pass's round trip and 50 ms, else 0.5",
    )
    acm.add_argument("--seconds", type=options.number, default=120.0, metavar="S", help="without a pass (default: 120)")
    acm.add_argument(
        "--reliability",
        type=options.number,
        nargs="+",
        default=[0.95, 0.8],
        metavar="P",
        help="share of frames that shall reach the wanted quality, a controller for each (default: 0.95 0.8)",
    )
    acm.add_argument("--hysteresis", type=options.decibels, default=0.5, metavar="DB", help="default: 0.5")
    acm.add_argument("--margin", type=options.decibels, default=0.2, metavar="DB", help="default: 0.2")
    acm.add_argument("--symbol-rate", type=options.number, default=1e6, metavar="HZ", help="default: 1e6")
    acm.add_argument("--tiles-per-frame", type=options.count, default=64, metavar="N", help="default: 64")
    acm.add_argument("--plot", type=Path, metavar="FILE.png", help="draw it there")
    options.add_data(acm)
    options.add_codec(acm)
    options.add_seed(acm)
    options.add_json(acm)


def run_acm(arguments: argparse.Namespace) -> int:
    from djscc.campaign import resolve_data
    from djscc.channels import load_channel
    from djscc.codec import load_codec
    from djscc.imagery import load_tiles
    from djscc.link_control import ControlError, ControllerSettings, chosen_model
    from djscc.link_control.acm import SNR_DB, plot, run_acm
    from djscc.link_control.choices import offered_ratios, ratios_of
    from djscc.link_control.measured import METRICS, measure_plane
    from djscc.quality import METRICS as MEASURED
    from djscc.semantic_loss import loss_of_metric

    codec = load_codec(arguments.codec, arguments.decoder)
    model = None
    if arguments.model is not None:
        model = chosen_model(arguments.model, arguments.metric, codec, arguments.model_channel)
    loss = loss_of_metric(arguments.metric)
    if loss.metric not in (*METRICS, *MEASURED):
        raise ControlError(f"--metric {arguments.metric}: choose one of psnr, mse, ssim, ms_ssim, lpips")
    if arguments.seconds <= 0 or arguments.symbol_rate <= 0 or (arguments.delay or 0) < 0:
        raise ControlError("--seconds and --symbol-rate must be above 0, --delay not below")
    settings = [
        ControllerSettings(reliability=share, hysteresis_db=arguments.hysteresis, margin_db=arguments.margin)
        for share in arguments.reliability
    ]
    channel = load_channel(arguments.channel)
    if arguments.snr is not None:
        channel = channel.replace(snr_db=arguments.snr)
    fading = None if arguments.fading is None else load_channel(arguments.fading)
    tiles = load_tiles(resolve_data(arguments.data), codec.bands).take(arguments.limit)
    ratios = offered_ratios(codec) if model is None else ratios_of(codec, model)
    measured = measure_plane(codec, tiles, ratios, SNR_DB, loss, arguments.seed)
    comparison = run_acm(
        measured,
        model or measured.fit(arguments.seed),
        codec,
        tiles,
        channel,
        arguments.wanted,
        fading,
        settings[0],
        arguments.reliability,
        arguments.symbol_rate,
        arguments.tiles_per_frame,
        arguments.delay,
        arguments.seconds,
        arguments.seed,
    )
    print(comparison.table())
    options.write_json(arguments.json, comparison.to_dict())
    if arguments.plot is not None:
        plot([comparison], arguments.plot)
    return 0
