# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc virtual-pluto`` and ``djscc virtual-usrp``: radios to rehearse an experiment with."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import time
from typing import Any

from djscc.cli import options

REPORT_S = 1.0


def add_commands(commands: Any) -> None:
    for kind, name, block, address in (
        ("pluto", "virtual-pluto", "gr-iio", "ip:127.0.0.1"),
        ("usrp", "virtual-usrp", "gr-uhd", "type=virtual,addr=127.0.0.1"),
    ):
        parser = options.command(
            commands,
            name,
            run,
            f"virtual radios in one air, for the unmodified {block} blocks",
            f"The first radio answers at {address}, the second at 127.0.0.2, and so on, on this machine only.\n"
            "Runs until it is interrupted. Oscillator errors are given for each radio, separated by commas.",
            f"djscc {name} --radios 2 --lo-ppm 20,0 --clock-ppm 20,0 --snr 10 --symbol-rate 5e5",
        )
        parser.set_defaults(kind=kind)
        _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--air", metavar="FILE.yaml", help="settings of radios and air; the options given here go before them"
    )
    parser.add_argument("--radios", type=options.count, metavar="N", help="how many radios (default: 1)")
    parser.add_argument("--address", type=_names, metavar="A,B", help="their addresses on loopback")
    parser.add_argument("--lo-ppm", type=_numbers, metavar="P,P", help="error of each one's oscillators in ppm")
    parser.add_argument("--clock-ppm", type=_numbers, metavar="P,P", help="error of each one's sample clock in ppm")
    parser.add_argument("--noise-figure", type=_numbers, metavar="DB,DB", help="noise figure of each one's receiver")
    parser.add_argument("--bits", type=options.count, metavar="N", help="resolution of the converters (default: 12)")
    parser.add_argument(
        "--buffers",
        type=options.count,
        metavar="N",
        help="buffers that wait in a radio before samples are lost (default: 4)",
    )
    parser.add_argument("--path-loss", type=options.decibels, metavar="DB", help="loss between antennas (default: 80)")
    parser.add_argument(
        "--snr",
        type=options.decibels,
        metavar="DB",
        help="in place of --path-loss: the loss that gives this Es/N0 from the first radio to the last",
    )
    parser.add_argument(
        "--symbol-rate",
        type=options.number,
        default=1e6,
        metavar="HZ",
        help="with --snr: symbols per second (default: 1e6)",
    )
    parser.add_argument(
        "--level",
        type=options.decibels,
        default=-9.0,
        metavar="DBFS",
        help="with --snr: mean power of the signal over full scale (default: -9, that of this waveform)",
    )
    parser.add_argument(
        "--transmit-gain",
        type=options.decibels,
        metavar="DB",
        help="with --snr: gain that the transmitter will be set to (default: its largest; a Pluto's is minus its attenuation)",
    )
    parser.add_argument("--delay", type=options.number, metavar="S", help="propagation delay in seconds (default: 0)")
    parser.add_argument(
        "--echo",
        type=_echo,
        action="append",
        metavar="US,DB[,DEG]",
        help="an echo: microseconds after the direct path, dB over it, phase; may be given more than once",
    )
    parser.add_argument("--channel", metavar="NAME", help="preset or YAML file of a channel: its fading and hardware")
    parser.add_argument(
        "--clock",
        choices=("real", "stream"),
        help="real: what is read too late is lost (default); stream: time waits for the clients",
    )
    parser.add_argument("--not-itself", action="store_true", help="a radio does not hear its own transmitter")
    parser.add_argument("--seconds", type=options.number, metavar="S", help="end by itself after so long")
    options.add_seed(parser)
    parser.set_defaults(seed=None)  # the air's, which is 1
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    from djscc.virtual_radio import RadioServer

    air = _settings(arguments)
    # a shell that starts it in the background has SIGINT ignored
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    server = RadioServer(air)
    noted: dict[str, Any] = {}
    with server:
        _describe(arguments, air)
        began = time.monotonic()
        try:
            while arguments.seconds is None or time.monotonic() - began < arguments.seconds:
                time.sleep(REPORT_S if arguments.seconds is None else min(REPORT_S, arguments.seconds))
                server.check()
                _report(server, noted)
        except KeyboardInterrupt:
            print("stopped", flush=True)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            result = {"settings": air.to_dict(), **_state(server)}
    options.write_json(arguments.json, result)
    return 0


def _settings(arguments: argparse.Namespace) -> Any:
    from djscc.channels import ChannelError, load_channel
    from djscc.virtual_radio import VirtualRadioError, load_air

    try:
        air = load_air(arguments.air or {}, arguments.kind)
        if arguments.symbol_rate <= 0:
            raise VirtualRadioError(f"--symbol-rate {arguments.symbol_rate:g}: give symbols per second, above 0")
        radios = list(air.radios)
        if arguments.radios is not None:
            radios = [radios[min(i, len(radios) - 1)] for i in range(arguments.radios)]
        changes: list[dict[str, Any]] = [{} for _ in radios]
        for key, option in (
            ("address", "address"),
            ("lo_ppm", "lo_ppm"),
            ("clock_ppm", "clock_ppm"),
            ("noise_figure_db", "noise_figure"),
        ):
            values = getattr(arguments, option)
            if values is None:
                continue
            if len(values) not in (1, len(radios)) or (key == "address" and len(values) != len(radios)):
                raise VirtualRadioError(
                    f"--{option.replace('_', '-')}: {len(values)} values for {len(radios)} radios; give one for each"
                )
            for i, change in enumerate(changes):
                change[key] = values[i if len(values) > 1 else 0]
        for key in ("bits", "buffers"):
            if getattr(arguments, key) is not None:
                for change in changes:
                    change[key] = getattr(arguments, key)
        radios = [dataclasses.replace(radio, **change) for radio, change in zip(radios, changes, strict=True)]
        given: dict[str, Any] = {"radios": tuple(radios)}
        if arguments.seed is not None:
            given["seed"] = arguments.seed
        if arguments.path_loss is not None:
            given["path_loss_db"] = arguments.path_loss
        if arguments.delay is not None:
            given["delay_s"] = arguments.delay
        if arguments.echo:
            given["echoes"] = tuple(arguments.echo)
        if arguments.channel is not None:
            given["channel"] = load_channel(arguments.channel)
        if arguments.clock is not None:
            given["clock"] = arguments.clock
        if arguments.not_itself:
            given["own_signal"] = False
        air = air.replace(**given)
        if arguments.snr is not None:
            if arguments.path_loss is not None:
                raise VirtualRadioError("--snr and --path-loss both say the loss; give one of them")
            air = air.for_esn0(arguments.snr, arguments.symbol_rate, arguments.level, arguments.transmit_gain)
    except ChannelError as error:
        raise VirtualRadioError(f"virtual radios: {error}") from None
    return air


def _describe(arguments: argparse.Namespace, air: Any) -> None:
    from djscc.virtual_radio import usrp

    for i, radio in enumerate(air.radios):
        where = f"ip:{air.address(i)}" if radio.kind == "pluto" else f"type=virtual,addr={air.address(i)}"
        print(f"{radio.kind} {i}: {where}, oscillators {radio.lo_ppm:+g} ppm, clock {radio.clock_ppm:+g} ppm")
    symbol_rate, level = arguments.symbol_rate, arguments.level
    gain = arguments.transmit_gain
    gain = air.radios[0].model.transmit_gain.high if gain is None else gain
    print(
        f"path loss {air.path_loss_db:.1f} dB: a signal of {level:g} dBFS at transmit gain {gain:g} dB arrives with Es/N0 "
        f"{air.esn0_db(symbol_rate, level, gain):.1f} dB at {symbol_rate:g} symbols/s; {air.clock} clock"
    )
    if any(radio.kind == "usrp" for radio in air.radios):
        folder = usrp.module_folder()
        print(
            f"UHD finds them with: export UHD_MODULE_PATH={folder}"
            if folder
            else "UHD's module for them is not installed: build gr-djscc where libuhd-dev is installed"
        )
    print("ready", flush=True)


def _state(server: Any) -> dict[str, Any]:
    return {
        "air_seconds": round(server.air.time, 3),
        "clock_held_s": round(server.air.held_s, 3),
        "radios": [radio.counters() for radio in server.air.radios],
    }


def _report(server: Any, noted: dict[str, Any]) -> None:
    """Say what went wrong since the last time."""
    held = server.air.held_s
    if held > noted.get("held", 0.0) + 0.1:
        print(f"this machine is too slow: the air's clock was held for {held:.1f} s in all", flush=True)
        noted["held"] = held
    for i, radio in enumerate(server.air.radios):
        for name, value in radio.counters().items():
            if value > noted.get(f"{i} {name}", 0):
                print(f"{radio.settings.kind} {i}: {name} {value}", flush=True)
            noted[f"{i} {name}"] = value


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _numbers(text: str) -> list[float]:
    return [options.number(part) for part in text.split(",")]


def _echo(text: str) -> tuple[float, float, float]:
    values = _numbers(text)
    if len(values) not in (2, 3):
        raise argparse.ArgumentTypeError(f"{text!r}: give microseconds,dB or microseconds,dB,degrees")
    return values[0] * 1e-6, values[1], values[2] if len(values) == 3 else 0.0
