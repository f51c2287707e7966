# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc keys`` and ``djscc channel``: what lies between two ends."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from djscc.cli import options


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
    channel.add_argument(
        "--real-time", action="store_true", help="let samples through no faster than the sample rate, as a radio does"
    )
    channel.add_argument("--once", action="store_true", help="end when the first transmission has ended")
    channel.add_argument("--seconds", type=options.number, metavar="S", help="end after S seconds")
    options.add_security(channel)
    options.add_seed(channel)
    options.add_json(channel)


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
    settings = WaveformSettings(arguments.symbol_rate, arguments.samples_per_symbol)
    security = options.security(arguments)
    with open_source(arguments.source, security) as source, open_sink(arguments.sink, security) as sink:
        process = ChannelProcess(channel, settings, source, sink, arguments.seed, arguments.real_time)
        try:
            process.run(arguments.once, arguments.seconds)
        except KeyboardInterrupt:
            pass  # the way to end it
        finally:
            result = process.counts | {"channel": channel.name, "snr_db": channel.snr_db}
            options.write_json(arguments.json, result)
            options.say(
                f"{result['samples_in']} samples in, {result['samples_out']} out, {result['transmissions']} transmissions "
                f"ended, over {channel.name}"
            )
    return 0
