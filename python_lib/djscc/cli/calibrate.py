# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc calibrate``: known frames through a sink, heard by a source; clipping, SNR, carrier offset, and the gains to use."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from djscc.cli import options
from djscc.cli.radio import add_radio, radio_settings
from djscc.radio import Endpoint, RadioEvents, RadioSettings, StreamError, parse_endpoint

if TYPE_CHECKING:
    from djscc.radio.calibration import Measurement
    from djscc.waveform import WaveformSettings

START_DB = 30.0  # receiver gain where none is given
WAIT_S = 5.0  # for the last frame


def add_commands(commands: Any) -> None:
    parser = options.command(
        commands,
        "calibrate",
        run_calibrate,
        "find gains: send known frames, measure level, SNR and carrier offset",
        "Changes the receiver's gain until its peaks are 6 dB below full scale, and says what to do with the transmitter's.\n"
        "One radio or two, a cable with an attenuator or antennas between; or --simulate.",
        "djscc calibrate --simulate bench-pluto --snr 20 --gain 0\n"
        "  djscc calibrate --sink pluto:ip:192.168.2.1 --source pluto:ip:192.168.2.2 --frequency 2.4e9 --gain -30",
    )
    parser.add_argument("--sink", metavar="SINK", help="radio that sends: usrp:ARGS, pluto:URI or soapy:ARGS")
    parser.add_argument("--source", metavar="SOURCE", help="radio that receives, or the same one")
    parser.add_argument("--receive-gain", type=options.decibels, metavar="DB", help="where to begin (default: 30)")
    parser.add_argument(
        "--receive-gain-limits",
        type=options.decibels,
        nargs=2,
        default=(0.0, 70.0),
        metavar=("LOW", "HIGH"),
        help="gains that may be tried (default: 0 70)",
    )
    parser.add_argument("--frames", type=options.count, default=5, metavar="N", help="test frames a round (default: 5)")
    parser.add_argument("--rounds", type=options.count, default=5, metavar="N", help="at most (default: 5)")
    parser.add_argument("--simulate", metavar="CHANNEL", help="preset or YAML file of a channel, instead of radios")
    parser.add_argument(
        "--snr",
        type=options.decibels,
        metavar="DB",
        help="with --simulate: Es/N0 at transmit gain 0 (default: as the channel has)",
    )
    parser.add_argument(
        "--loss",
        type=options.decibels,
        default=40.0,
        metavar="DB",
        help="with --simulate: between the ends (default: 40)",
    )
    parser.add_argument(
        "--receive-antenna", metavar="NAME", help="of the radio that receives; --antenna is the transmitter's"
    )
    options.add_seed(parser)
    add_radio(parser)
    options.add_json(parser)


def run_calibrate(arguments: argparse.Namespace) -> int:
    from djscc.radio.calibration import SimulatedBench, calibrate
    from djscc.waveform import WaveformSettings

    radio = radio_settings(arguments)
    rate, samples_per_symbol = radio.waveform
    settings = WaveformSettings(rate, samples_per_symbol)
    low, high = arguments.receive_gain_limits
    if low > high:
        raise StreamError(f"--receive-gain-limits {low:g} {high:g}: give the lower one first")
    wanted = arguments.receive_gain
    if wanted is not None and not low <= wanted <= high:
        raise StreamError(f"--receive-gain {wanted:g}: outside of --receive-gain-limits {low:g} {high:g}; widen those")
    if radio.gain is None:
        raise StreamError("nothing is sent before --gain, the transmitter's, is given")
    bench: SimulatedBench | _RadioBench
    if arguments.simulate is not None:
        from djscc.channels import load_channel

        channel = load_channel(arguments.simulate)
        if arguments.snr is not None:
            channel = channel.replace(snr_db=arguments.snr)
        bench = SimulatedBench(channel, settings, arguments.loss, arguments.frames, arguments.seed)
    else:
        sink, source = (_radio(arguments, name).at(radio.address) for name in ("sink", "source"))
        bench = _RadioBench(sink, source, radio, arguments.receive_antenna, settings, arguments.frames)
    first = min(max(START_DB, low), high) if wanted is None else wanted

    def tell(measured: Measurement) -> None:
        print(measured.line(), flush=True)

    suggestion, measured = calibrate(bench.measure, radio.gain, first, (low, high), arguments.rounds, tell)
    result = {
        "transmit_gain": suggestion.transmit_gain,
        "receive_gain": suggestion.receive_gain,
        "reason": suggestion.reason,
        "measured": [m.to_dict() for m in measured],
    }
    options.write_json(arguments.json, result)
    print(
        f"suggested: transmit with --gain {suggestion.transmit_gain:g}, receive with --gain {suggestion.receive_gain:g}"
    )
    print(suggestion.reason)
    received = any(m.frames_received for m in measured)
    return 0 if received else 1


def _radio(arguments: argparse.Namespace, name: str) -> Endpoint:
    text = getattr(arguments, name)
    if text is None:
        raise StreamError(f"--{name} is missing; give --sink and --source, or --simulate CHANNEL")
    endpoint = parse_endpoint(text, f"--{name}")
    if not endpoint.hardware:
        raise StreamError(f"--{name} {text!r} is no radio and has no gain; give usrp:ARGS, pluto:URI or soapy:ARGS")
    return endpoint


class _RadioBench:
    """Two ends of radios; each measurement opens them anew."""

    def __init__(
        self,
        sink: Endpoint,
        source: Endpoint,
        radio: RadioSettings,
        receive_antenna: str | None,
        settings: WaveformSettings,
        frames: int,
    ) -> None:
        self._sink, self._source, self._settings, self._frames = sink, source, settings, frames
        self._transmitter, self._receiver = radio, replace(radio, antenna=receive_antenna)

    def measure(self, transmit_gain: float, receive_gain: float) -> Measurement:
        """Send and receive with these gains."""
        from djscc.campaign.points import gnuradio_module
        from djscc.radio.calibration import LevelMeter, Measurement
        from djscc.radio.prbs import TestFrames, TestSink

        meter, taker = LevelMeter(), TestSink(settings=self._settings)
        gnuradio_module().radio_bench(
            TestFrames(self._frames),
            self._frames,
            (self._sink, replace(self._transmitter, gain=transmit_gain)),
            (self._source, replace(self._receiver, gain=receive_gain)),
            self._settings,
            taker,
            meter,
            RadioEvents(),
            WAIT_S,
        )
        return Measurement.of((transmit_gain, receive_gain), self._frames, meter, taker.summary())
