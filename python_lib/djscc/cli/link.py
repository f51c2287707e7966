# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc evaluate`` and ``djscc loopback``: one point of the plane, at symbol level or as a running flowgraph."""

from __future__ import annotations

import argparse
from typing import Any

from djscc.campaign.plan import Plan, Point, resolve_data
from djscc.campaign.runlog import RunLog
from djscc.cli import options


def add_commands(commands: Any) -> None:
    evaluate = options.command(
        commands,
        "evaluate",
        run_evaluate,
        "measure the codec over a symbol-level channel",
        "Encode tiles, send their symbols over a channel as an ideal receiver leaves it, decode, measure:\n"
        "no waveform, no GNU Radio.",
        "djscc evaluate --ratio 1/12 --snr 0 --json result.json",
    )
    loopback = options.command(
        commands,
        "loopback",
        run_loopback,
        "send tiles through the whole chain as a running GNU Radio flowgraph",
        "Encoder source, frame modulator, channel, frame receiver, decoder sink. The receiver is told nothing:\n"
        "it finds, corrects and reads what arrives. Metrics are taken against the originals after decoding.",
        "djscc loopback --ratio 1/12 --snr 0 --channel rician-k10 --cfo 12500 --ppm 8 --run runs/first --json result.json",
    )
    for parser in (evaluate, loopback):
        options.add_data(parser)
        options.add_codec(parser)
        parser.add_argument(
            "--ratio", type=options.ratio, required=True, help="k/n, channel symbols per source sample, like 1/12"
        )
        parser.add_argument(
            "--snr", type=options.decibels, required=True, metavar="DB", help="Es/N0 per complex symbol in dB"
        )
        parser.add_argument(
            "--channel", default="awgn", metavar="NAME", help="preset or YAML file of a channel (default: awgn)"
        )
        parser.add_argument(
            "--told", action="store_true", help="tell the encoder the Es/N0 (by default it does not know it)"
        )
        options.add_seed(parser)
        options.add_json(parser)
    loopback.add_argument("--cfo", type=options.number, default=None, metavar="HZ", help="carrier frequency offset")
    loopback.add_argument(
        "--ppm", type=options.number, default=None, metavar="P", help="sample-clock offset in parts per million"
    )
    loopback.add_argument(
        "--delay", type=options.number, default=None, metavar="SAMPLES", help="delay, fractions allowed"
    )
    loopback.add_argument(
        "--symbol-rate", type=options.number, default=1e6, metavar="HZ", help="symbols per second (default: 1e6)"
    )
    loopback.add_argument(
        "--tiles-per-frame", type=options.count, default=64, metavar="N", help="tiles in one frame (default: 64)"
    )
    loopback.add_argument(
        "--run", dest="run_folder", metavar="DIR", help="keep the run log and the received pictures there"
    )


def run_evaluate(arguments: argparse.Namespace) -> int:
    return _run(arguments, "symbols", None)


def run_loopback(arguments: argparse.Namespace) -> int:
    return _run(arguments, "flowgraph", arguments.run_folder)


def _run(arguments: argparse.Namespace, level: str, folder: str | None) -> int:
    from djscc.campaign.points import run_point
    from djscc.campaign.reception import save_originals
    from djscc.campaign.summary import sum_up
    from djscc.imagery import load_tiles

    given = {"cfo_hz": "cfo", "clock_ppm": "ppm", "delay_samples": "delay"}
    values = {key: getattr(arguments, name, None) for key, name in given.items()}
    plan = Plan(
        name=arguments.command,
        ratios=(arguments.ratio,),
        snr_db=(arguments.snr,),
        data=arguments.data,
        limit=arguments.limit,
        level=level,
        codecs=(arguments.codec,),
        decoder=arguments.decoder,
        channels=(arguments.channel,),
        impairments={key: value for key, value in values.items() if value is not None},
        seeds=(arguments.seed,),
        told=arguments.told,
        tiles_per_frame=getattr(arguments, "tiles_per_frame", 64),
        symbol_rate=getattr(arguments, "symbol_rate", 1e6),
        pictures=64,
    )
    tiles = load_tiles(resolve_data(plan.data)).take(plan.limit)
    log = None
    if folder is not None:
        log = RunLog(folder)
        log.start(plan.to_dict())
        save_originals(log, tiles, plan.pictures)
    point = Point(arguments.codec, arguments.channel, arguments.ratio, arguments.snr, arguments.seed)
    records = run_point(plan, point, tiles, log)
    result = sum_up(records)
    height, width, bands = tiles.images.shape[1:]
    result["symbols_per_image"] = round(result["ratio"] * height * width * bands)
    settings = {
        "command": arguments.command,
        "snr_db": arguments.snr,
        "channel": arguments.channel,
        "codec": arguments.codec,
    }
    options.write_json(arguments.json, settings | result)
    if result["images"] == 0:
        print(f"no frame of {result['frames_sent']} was received")
        return 1
    print(
        f"{result['images']} of {result['images_sent']} tiles, {result['symbols_per_image']} symbols each, "
        f"Es/N0 {arguments.snr:g} dB (estimated {result['snr_est_db']:.2f}): PSNR {result['psnr_db']:.2f} dB, "
        f"SSIM {result['ssim']:.4f}, MS-SSIM {result['ms_ssim']:.4f}, LPIPS {result['lpips']:.4f}; "
        f"{result['frames_received']} of {result['frames_sent']} frames"
    )
    return 0
