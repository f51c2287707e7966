# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc transmit`` and ``djscc receive``: their options, and what both make of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from djscc.cli import options
from djscc.radio import RadioSettings, load_radio_settings

ENDS = (
    "file:F (interleaved float32 I and Q), sigmf:F (a SigMF recording), zmq:tcp://HOST:PORT, - (standard {stream}),\n"
    "usrp:ARGS (UHD device arguments), pluto:URI (such as ip:192.168.2.1), soapy:ARGS"
)


def add_commands(commands: Any) -> None:
    transmit = options.command(
        commands,
        "transmit",
        run_transmit,
        "encode and modulate images, to a radio, a file or a socket",
        "Sinks: " + ENDS.format(stream="output") + ".\n"
        "Nothing is sent by a radio before --frequency and --gain are given. Over ZeroMQ, the transmitter binds and waits for a\n"
        "receiver; either may start first, and again in the middle. Ctrl-C ends after the frame that is being sent.",
        "djscc transmit image.png --sink file:image.cf32 --ratio 1/12\n"
        "  djscc transmit image.png --sink pluto:ip:192.168.2.1 --frequency 2.4e9 --gain -10 --symbol-rate 1e6",
    )
    transmit.add_argument(
        "images", nargs="*", metavar="IMAGE", help="image files of any size, folders or .zip of tiles, or landsat"
    )
    transmit.add_argument("--sink", required=True, metavar="SINK", help="where the samples go, as above")
    transmit.add_argument("--ratio", type=options.ratio, default=1 / 12, help="k/n (default: 1/12)")
    transmit.add_argument(
        "--told-snr", type=options.decibels, metavar="DB", help="the Es/N0 that the encoder may reckon with"
    )
    transmit.add_argument(
        "--tiles-per-frame", type=options.count, default=64, metavar="N", help="tiles in one frame (default: 64)"
    )
    options.add_by_content(transmit)
    transmit.add_argument("--limit", type=options.count, metavar="N", help="take N tiles of each folder, spread evenly")
    transmit.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="send all N times; 0 until Ctrl-C (default: 1)"
    )
    transmit.add_argument(
        "--prbs", type=options.count, metavar="N", help="instead of images, N test frames of known symbols"
    )
    options.add_back_off(transmit, "peak envelope power over the payload's mean power; what exceeds it is clipped")
    transmit.add_argument(
        "--dry-run", action="store_true", help="say what would be sent (bandwidth, duration, power), and send nothing"
    )
    transmit.add_argument(
        "--log",
        metavar="DIR",
        help="keep what is sent there, originals too, for `djscc log --sent` to join with what arrives",
    )
    loop = transmit.add_argument_group("closed loop: the ratio follows the receiver's reports")
    loop.add_argument(
        "--adapt", metavar="MODEL.json", help="choose each frame's ratio by this model (djscc fit --json)"
    )
    loop.add_argument(
        "--wanted",
        type=options.number,
        metavar="Q",
        help="the quality to reach, in the model's metric, such as 32 (dB of PSNR)",
    )
    loop.add_argument(
        "--metric", metavar="NAME", help="of which metric, where the file holds several models (default: psnr)"
    )
    loop.add_argument("--model-channel", metavar="NAME", help="over which channel, where it holds models over several")
    loop.add_argument(
        "--feedback",
        default="tcp://127.0.0.1:5557",
        metavar="ADDRESS",
        help="where the receiver publishes (receive --publish; default: tcp://127.0.0.1:5557)",
    )
    loop.add_argument(
        "--reliability",
        type=options.number,
        default=0.95,
        metavar="P",
        help="share of frames that shall reach the wanted quality (default: 0.95)",
    )
    options.add_codec(transmit, decoder=False)

    receive = options.command(
        commands,
        "receive",
        run_receive,
        "find, correct and decode every frame, from a radio, a file or a socket",
        "Sources: " + ENDS.format(stream="input") + ".\n"
        "Writes a run folder: frames.jsonl, tiles, and whole images; of a radio also events.jsonl, where overruns stand. Nothing\n"
        "about the transmitter need be known. Ctrl-C ends it orderly.",
        "djscc receive --source file:image.cf32 --run runs/received\n"
        "  djscc receive --source pluto:ip:192.168.2.1 --frequency 2.4e9 --gain 30 --frames 10 --run runs/received",
    )
    receive.add_argument("--source", required=True, metavar="SOURCE", help="where the samples come from, as above")
    receive.add_argument("--run", dest="run_folder", required=True, metavar="DIR", help="run folder")
    receive.add_argument(
        "--decoder", metavar="NAME", help="which of the codec's decoders (default: its first, the strongest)"
    )
    options.add_tasks(receive)
    receive.add_argument("--frames", type=options.count, metavar="N", help="end after N frames")
    receive.add_argument(
        "--seconds", type=options.number, metavar="S", help="end after S seconds (of the recording, where it is one)"
    )
    receive.add_argument(
        "--publish",
        metavar="ADDRESS",
        help="publish each frame there (such as tcp://127.0.0.1:5557) for djscc monitor, djscc log and transmit --adapt",
    )
    receive.add_argument("--record", metavar="sigmf:F", help="record what is received")
    receive.add_argument("--prbs", action="store_true", help="the frames are test frames of transmit --prbs")
    receive.add_argument(
        "--queue",
        type=options.count,
        metavar="N",
        help="frames of a radio that wait for the decoder; what comes beyond is dropped and counted (default: as many as hold "
        "16 million symbols, 218 MB)",
    )
    for parser in (transmit, receive):
        add_radio(parser)
        options.add_security(parser)
        options.add_json(parser)


def add_radio(parser: argparse.ArgumentParser) -> None:
    """Options of the waveform and of radios; each is also a key of a YAML file."""
    group = parser.add_argument_group("waveform and radio")
    group.add_argument(
        "--radio",
        type=Path,
        metavar="FILE.yaml",
        help="read these options there (frequency: 2.4e9 ...); options here win",
    )
    for name, unit, text in (
        ("symbol-rate", "HZ", "symbols per second (default: 1e6)"),
        ("samples-per-symbol", "N", "samples per symbol (default: 2)"),
        ("sample-rate", "HZ", "samples per second, instead of one of the two"),
        ("frequency", "HZ", "carrier frequency of the radio"),
        ("gain", "DB", "gain of the radio; a Pluto transmits at -89.75 to 0"),
        ("antenna", "A", "antenna port"),
        ("lo-offset", "HZ", "how far the local oscillator is from the carrier"),
        ("clock-source", "S", "reference clock, such as internal or external"),
        ("bandwidth", "HZ", "of the radio's analogue filter (default: as the driver chooses)"),
        ("buffer-size", "N", "samples in a transfer (Pluto; default: 16384 to send, 65536 to receive)"),
        ("address", "A", "of the device, where the source or sink does not name it"),
    ):
        kind = {"HZ": options.number, "DB": options.decibels, "N": options.count}.get(unit, str)
        group.add_argument(f"--{name}", type=kind, metavar=unit, help=text)


def radio_settings(arguments: argparse.Namespace) -> RadioSettings:
    """What the options say, and the YAML file where they say nothing."""
    names = RadioSettings.__dataclass_fields__
    given = RadioSettings(**{name: getattr(arguments, name) for name in names})
    return given if arguments.radio is None else given.over(load_radio_settings(arguments.radio))


def run_transmit(arguments: argparse.Namespace) -> int:
    from djscc.cli.transmit import transmit

    return transmit(arguments)


def run_receive(arguments: argparse.Namespace) -> int:
    from djscc.cli.receive import receive

    return receive(arguments)
