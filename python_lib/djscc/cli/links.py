# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc keys`` and ``djscc channel``: what lies between two ends."""

from __future__ import annotations

import argparse
import logging
import time
from typing import Any

from djscc.cli import options
from djscc.cli.interrupt import Interrupt


def add_commands(commands: Any) -> None:
    keys = options.command(
        commands,
        "keys",
        run_keys,
        "make CURVE keys for links that leave this machine",
        """\
        Makes a folder of keys for each end: own.key_secret (mode 600), own.key, and peers/ with the public keys of the ends
        that it trusts. Ends made together trust each other: take each folder to its machine and delete it here, or make one
        on each machine and exchange the own.key files with --trust.""",
        "djscc keys keys/ground keys/satellite",
    )
    keys.add_argument("folders", nargs="+", metavar="DIR", help="a folder for each end, named as the end (or its host)")
    keys.add_argument("--trust", nargs="+", default=[], metavar="FILE.key", help="public keys of other ends to trust")

    channel = options.command(
        commands,
        "channel",
        run_channel,
        "a channel as a process of its own, between a transmitter and a receiver",
        f"""\
        Reads samples, passes them through a described channel, writes them. Ends are zmq:ADDRESS, file:NAME, or - for
        standard input and output. A zmq: input connects to the transmitter, a zmq: output waits to be connected to; bind: or
        connect: before the address turns that round. All may start in any order, and be restarted in the middle.
        Channels: {options.shipped("channels")}, or a YAML file.""",
        "djscc channel --in zmq:tcp://127.0.0.1:5555 --out zmq:tcp://127.0.0.1:5556 --channel rician-k10 --snr 5 --seconds 5",
    )
    channel.add_argument("--in", dest="source", required=True, metavar="SOURCE", help="where the samples come from")
    channel.add_argument("--out", dest="sink", required=True, metavar="SINK", help="where the samples go")
    channel.add_argument("--channel", default="awgn", metavar="NAME", help="preset or YAML file (default: awgn)")
    channel.add_argument("--snr", type=options.decibels, metavar="DB", help="mean Es/N0; default: the channel's own")
    channel.add_argument("--cfo", type=options.number, metavar="HZ", help="carrier frequency offset")
    channel.add_argument("--ppm", type=options.number, metavar="P", help="sample clock offset in parts per million")
    channel.add_argument("--delay", type=options.number, metavar="N", help="delay in samples")
    channel.add_argument("--time-scale", type=options.number, metavar="N", help="run through a pass N times faster")
    channel.add_argument(
        "--symbol-rate", type=options.number, default=1e6, metavar="HZ", help="symbols per second (default: 1e6)"
    )
    channel.add_argument(
        "--samples-per-symbol", type=options.count, default=2, metavar="N", help="samples per symbol (default: 2)"
    )
    options.add_back_off(
        channel, "the transmitter's --back-off: its frames' mean power, to which Es/N0 refers, follows from it"
    )
    channel.add_argument(
        "--real-time", action="store_true", help="let samples through no faster than the sample rate, as a radio does"
    )
    channel.add_argument("--once", action="store_true", help="end when the first transmission has ended")
    channel.add_argument("--seconds", type=options.number, metavar="S", help="end after S seconds")
    options.add_security(channel)
    options.add_seed(channel)
    options.add_json(channel)

    log = options.command(
        commands,
        "log",
        run_log,
        "log at the transmitter what a receiver elsewhere received",
        """\
        Subscribes to what `djscc receive --publish` publishes, joins it with the originals, which need not be at the receiver,
        and writes a run folder as any other: djscc fit and djscc report work on it. Run it again to go on with the same log.""",
        "djscc log --connect tcp://127.0.0.1:5557 --data landsat --run runs/joined --seconds 5",
    )
    log.add_argument(
        "--connect", required=True, metavar="ADDRESS", help="where the receiver publishes: tcp://HOST:PORT"
    )
    log.add_argument("--run", dest="run_folder", required=True, metavar="DIR", help="run folder")
    log.add_argument(
        "--sent", metavar="DIR", help="log of the transmitter (djscc transmit --log): originals, lost frames"
    )
    log.add_argument("--data", metavar="DIR", help="originals: folder of tiles that is sent, or landsat")
    log.add_argument("--limit", type=options.count, metavar="N", help="N tiles of --data, as they are sent")
    log.add_argument("--images", nargs="+", default=[], metavar="IMAGE", help="originals: images that are sent")
    log.add_argument("--frames", type=options.count, metavar="N", help="end after N frames")
    log.add_argument("--seconds", type=options.number, metavar="S", help="end after S seconds")
    log.add_argument("--once", action="store_true", help="end when the receiver says that it stops")
    options.add_tasks(log)
    options.add_security(log)
    options.add_json(log)


def run_keys(arguments: argparse.Namespace) -> int:
    from djscc.links import make_keys

    for keys in make_keys(arguments.folders, arguments.trust):
        trusted = ", ".join(name for name, _ in keys.peers) or "nobody yet: add --trust OTHER.key"
        print(f"{keys.folder}: public key {keys.public.decode()}, trusts {trusted}")
    return 0


def run_channel(arguments: argparse.Namespace) -> int:
    from djscc.channels import load_channel
    from djscc.links.channel import ChannelProcess, open_sink, open_source
    from djscc.waveform import WaveformSettings

    logging.basicConfig(format="%(message)s")
    given = {"snr_db": "snr", "cfo_hz": "cfo", "clock_ppm": "ppm", "delay_samples": "delay"}
    values = {key: getattr(arguments, name) for key, name in given.items()}
    if arguments.time_scale is not None:
        values["orbit.time_scale"] = arguments.time_scale
    channel = load_channel(arguments.channel).replace({key: v for key, v in values.items() if v is not None})
    settings = WaveformSettings(arguments.symbol_rate, arguments.samples_per_symbol, back_off_db=arguments.back_off)
    security = options.security(arguments)
    with open_source(arguments.source, security) as source, open_sink(arguments.sink, security) as sink:
        process = ChannelProcess(channel, settings, source, sink, arguments.seed, arguments.real_time)
        try:
            with Interrupt(arguments.seconds) as interrupt:
                process.run(arguments.once, lambda: interrupt.requested)
        finally:
            result = process.counts | {"channel": channel.name, "snr_db": channel.snr_db}
            options.write_json(arguments.json, result)
            options.say(
                f"{result['samples_in']} samples in, {result['samples_out']} out, {result['transmissions']} transmissions "
                f"ended, over {channel.name}"
            )
    return 0


def run_log(arguments: argparse.Namespace) -> int:
    from djscc.campaign.joined_log import JoinedLog
    from djscc.campaign.runlog import RunLog
    from djscc.campaign.summary import sum_up
    from djscc.campaign.transmit_log import SentLog
    from djscc.links import MetricsSubscriber
    from djscc.tasks.task import load_tasks

    logging.basicConfig(format="%(message)s")
    sent = None if arguments.sent is None else SentLog(arguments.sent)
    scenes = _originals(arguments)
    log = RunLog(arguments.run_folder)
    log.start(
        {"connect": arguments.connect, "sent": arguments.sent, "data": arguments.data, "images": arguments.images}
    )
    tasks = load_tasks(arguments.tasks) if arguments.tasks else []
    joined = JoinedLog(log, sent, scenes, tasks=tasks)
    subscriber = MetricsSubscriber(arguments.connect, options.security(arguments))
    until = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    try:
        while until is None or time.monotonic() < until:
            if subscriber.connected:
                joined.connected()
            received = subscriber.receive(0.2)
            if received is None:
                continue
            record = joined.accept(received)
            if record is not None:
                print(_line(record), flush=True)
            if (arguments.once and received.kind == "end") or joined.counts["frames"] == arguments.frames:
                break
    except KeyboardInterrupt:
        pass  # the way to end it
    finally:
        joined.close()
        subscriber.close()
    records = list(log.records()) if log.frames.exists() else []
    total = {} if not records else sum_up(records)
    counts = joined.counts | {"missed": subscriber.missed, "damaged": joined.counts["damaged"] + subscriber.damaged}
    options.write_json(arguments.json, total | {"counts": counts})
    print(", ".join(f"{value} {name.replace('_', ' ')}" for name, value in counts.items()))
    if subscriber.missed and counts["lost"]:
        options.say(
            f"{subscriber.missed} messages were missed here, so up to so many of the lost frames may have arrived"
        )
    if not records:
        options.say(
            f"no frame came from {arguments.connect}; is the receiver publishing there (djscc receive --publish)?"
        )
    return 0 if records else 1


def _line(record: dict[str, Any]) -> str:
    snr, psnr = record.get("snr_est_db"), [tile["psnr_db"] for tile in record["tiles"] if "psnr_db" in tile]
    text = f"frame {record['frame_number']}: {len(record['tiles'])} tiles"
    if isinstance(snr, int | float):
        text += f", Es/N0 {snr:.1f} dB"
    return text + (
        f", PSNR {sum(psnr) / len(psnr):.2f} dB" if psnr else ", not measured: originals or tiles not at hand"
    )


def _originals(arguments: argparse.Namespace) -> list[Any]:
    from djscc.campaign.scenes import read_scene

    scenes = [] if arguments.data is None else [read_scene(arguments.data, arguments.limit)]
    return [tiles for tiles, _ in scenes + [read_scene(name) for name in arguments.images]]
