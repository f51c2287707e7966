# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc evaluate``, ``loopback`` and ``link-budget``: one link, at symbol level, as a running flowgraph, or on paper."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from djscc.campaign.plan import Plan, PlanError, Point, resolve_data
from djscc.campaign.runlog import RunLog
from djscc.channels import load_channel
from djscc.cli import options

IMAGE_CODECS = ("jpeg2000", "webp", "avif")  # djscc.digital.FORMATS


def add_commands(commands: Any) -> None:
    evaluate = options.command(
        commands,
        "evaluate",
        run_evaluate,
        "measure the codec over a symbol-level channel",
        "Encode tiles, send their symbols over a channel as an ideal receiver leaves it, decode, measure:\n"
        "no waveform, no GNU Radio. With --codec jpeg2000, webp or avif the same channel symbols carry a digital\n"
        "link instead: frames of 64 tiles as one mosaic, coded to the bytes of the best DVB-S2/S2X MODCOD at that Es/N0.",
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
            "--channel", default="awgn", metavar="NAME", help="preset or YAML file of a channel (default: awgn)"
        )
        options.add_tasks(parser)
        options.add_by_content(parser)
        parser.add_argument(
            "--told", action="store_true", help="tell the encoder the Es/N0 (by default it does not know it)"
        )
        options.add_seed(parser)
        options.add_json(parser)
    evaluate.add_argument(
        "--snr", type=options.decibels, required=True, metavar="DB", help="Es/N0 per complex symbol in dB"
    )
    loopback.add_argument(
        "--snr",
        type=options.decibels,
        metavar="DB",
        help="Es/N0 per complex symbol in dB; over a satellite pass its largest (default there: from the link budget)",
    )
    loopback.add_argument(
        "--time-scale", type=options.number, metavar="X", help="run through a satellite pass X times faster"
    )
    loopback.add_argument("--repeat", type=options.count, default=1, metavar="N", help="send all tiles N times")
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
    budget = options.command(
        commands,
        "link-budget",
        run_link_budget,
        "print a satellite pass: elevation, Doppler, losses, Es/N0",
        "CHANNEL is a YAML file with sections orbit and link, or a preset such as leo-600km-x-band.",
        "djscc link-budget leo-600km-x-band --symbol-rate 1e6 --step 60 --plot pass.png",
    )
    budget.add_argument("channel", metavar="CHANNEL", help="preset or YAML file of a channel")
    budget.add_argument(
        "--symbol-rate", type=options.number, default=1e6, metavar="HZ", help="symbols per second (default: 1e6)"
    )
    budget.add_argument(
        "--step", type=options.number, default=30.0, metavar="S", help="seconds between rows (default: 30)"
    )
    budget.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the pass there")
    options.add_json(budget)


def run_link_budget(arguments: argparse.Namespace) -> int:
    from djscc.channels import load_channel
    from djscc.channels.link_budget import format_link_budget, link_budget, plot_link_budget

    if arguments.step <= 0:
        raise PlanError(f"--step {arguments.step:g}: give seconds above 0")
    if arguments.symbol_rate <= 0:
        raise PlanError(f"--symbol-rate {arguments.symbol_rate:g}: give symbols per second above 0")
    channel = load_channel(arguments.channel)
    rows = link_budget(channel, arguments.symbol_rate, arguments.step)
    print(format_link_budget(rows))
    options.write_json(arguments.json, [dataclasses.asdict(r) for r in rows])
    if arguments.plot is not None:
        plot_link_budget(rows, arguments.plot, channel.name)
    return 0


def run_evaluate(arguments: argparse.Namespace) -> int:
    if arguments.codec in IMAGE_CODECS:
        return _run_digital(arguments)
    if load_channel(arguments.channel).orbit is not None:
        raise PlanError(
            f"--channel {arguments.channel}: a satellite pass changes with time; fly it with `djscc loopback --channel "
            f"{arguments.channel}`, or see it with `djscc link-budget`"
        )
    return _run(arguments, "symbols", None)


def _run_digital(arguments: argparse.Namespace) -> int:
    """The digital link in place of the codec: an image codec over the best MODCOD."""
    from djscc.digital import DigitalError
    from djscc.digital.evaluation import evaluate
    from djscc.imagery import load_tiles
    from djscc.tasks.task import load_tasks

    if arguments.channel != "awgn" or arguments.by_content:
        raise DigitalError(
            f"--codec {arguments.codec}: the digital link is ideal over only AWGN, its bits go by content anyway"
        )
    if arguments.decoder is not None or arguments.told:
        raise DigitalError(
            f"--codec {arguments.codec}: it has one decoder and takes the best MODCOD at the Es/N0; leave out --decoder and --told"
        )
    tiles = load_tiles(resolve_data(arguments.data)).take(arguments.limit)
    result = evaluate(tiles, arguments.codec, arguments.ratio, arguments.snr, tasks=load_tasks(arguments.tasks))
    height, width, bands = tiles.images.shape[1:]
    result["symbols_per_image"] = round(arguments.ratio * height * width * bands)
    settings = {"command": "evaluate", "snr_db": arguments.snr, "channel": "awgn", "codec": arguments.codec}
    print(f"{arguments.codec} over {result['modcod']} of DVB-S2/S2X, ideal, frames of 64 tiles")
    _print_result(result, arguments.snr)
    options.write_json(arguments.json, settings | result)
    return 0


def run_loopback(arguments: argparse.Namespace) -> int:
    return _run(arguments, "flowgraph", arguments.run_folder)


def _run(arguments: argparse.Namespace, level: str, folder: str | None) -> int:
    from djscc.campaign.points import codec_of, run_point, tasks_of
    from djscc.campaign.reception import save_originals
    from djscc.campaign.runner import ids_of
    from djscc.campaign.sender import scene_id
    from djscc.campaign.summary import sum_up
    from djscc.imagery import load_tiles

    given = {"cfo_hz": "cfo", "clock_ppm": "ppm", "delay_samples": "delay", "orbit.time_scale": "time_scale"}
    values = {key: getattr(arguments, name, None) for key, name in given.items()}
    plan = Plan(
        name=arguments.command,
        ratios=(arguments.ratio,),
        snr_db=() if arguments.snr is None else (arguments.snr,),
        data=arguments.data,
        limit=arguments.limit,
        level=level,
        codecs=(arguments.codec,),
        decoder=arguments.decoder,
        channels=(arguments.channel,),
        impairments={key: value for key, value in values.items() if value is not None},
        seeds=(arguments.seed,),
        told=arguments.told,
        by_content=arguments.by_content,
        tiles_per_frame=getattr(arguments, "tiles_per_frame", 64),
        symbol_rate=getattr(arguments, "symbol_rate", 1e6),
        repeat=getattr(arguments, "repeat", 1),
        pictures=64,
        tasks=tuple(arguments.tasks),
    )
    codec = codec_of(arguments.codec, arguments.decoder)
    tiles = load_tiles(resolve_data(plan.data), codec.bands).take(plan.limit)
    log = None
    if folder is not None:
        log = RunLog(folder)
        codec_ids = {arguments.codec: ids_of(codec)}
        task_ids = {"task_ids": {task.name: task.id for task in tasks_of(plan)}} if plan.tasks else {}
        log.start(plan.to_dict() | {"codec_ids": codec_ids, "scene": f"{scene_id(tiles.images):08x}"} | task_ids)
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
    if result["images"] == 0:
        print(f"no frame of {result['frames_sent']} was received")
    else:
        _print_result(result, arguments.snr)
    options.write_json(arguments.json, settings | result)
    return int(result["images"] == 0)


def _print_result(result: dict[str, Any], snr_db: float | None) -> None:
    told = "over the pass" if snr_db is None else f"{snr_db:g} dB"
    names = {"ssim": "SSIM", "ms_ssim": "MS-SSIM", "lpips": "LPIPS"}
    others = "".join(f", {text} {result[name]:.4f}" for name, text in names.items() if name in result)
    print(
        f"{result['images']} of {result['images_sent']} tiles, {result['symbols_per_image']} symbols each "
        f"(k/n 1/{1 / result['ratio']:.4g}), "
        f"Es/N0 {told} (estimated {result['snr_est_db']:.2f} dB): PSNR {result['psnr_db']:.2f} dB{others}; "
        f"{result['frames_received']} of {result['frames_sent']} frames"
    )
    for name, numbers in result.get("tasks", {}).items():
        print(f"{name}: " + ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in numbers.items()))
