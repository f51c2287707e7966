# SPDX-License-Identifier: GPL-3.0-or-later
"""Es/N0 over time on a link that varies, and frames sent over it with fixed ratios, a controller, or foreknowledge.

Frame by frame, not sample by sample: a frame's Es/N0 is the mean in dB of what the channel has while it lasts, its quality that of
the same tiles over AWGN at this Es/N0. A frame below ``LOST_DB`` is lost, and nothing is reported of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from djscc.channels import ChannelDescription
from djscc.channels.fading import FlatFading
from djscc.channels.fading_parameters import NtnTdl
from djscc.channels.orbit import LIGHT_M_S
from djscc.channels.satellite_pass import SatellitePass
from djscc.channels.schema import ChannelError
from djscc.link_control.choices import Choice, ControlError
from djscc.link_control.controller import LOST_DB, Controller
from djscc.link_control.measured import Measured

Array = NDArray[np.float64]

ESTIMATE_DB = 0.1  # deviation of the receiver's estimate (results/waveform.json: 0.25 dB at -8 dB, less above)
RATE_HZ = 400.0  # of the sampled Es/N0, at least


@dataclass(frozen=True)
class Track:
    """Es/N0 over time: ``snr_db`` (T,) at ``step_s``, ``mean_db`` without fading, ``round_trip_s`` how late reports come."""

    step_s: float
    snr_db: Array
    mean_db: Array
    round_trip_s: Array
    elevation_deg: Array | None = None

    @property
    def duration_s(self) -> float:
        return len(self.snr_db) * self.step_s

    def between(self, start_s: float, end_s: float) -> float:
        """Mean Es/N0 in dB from ``start_s`` to ``end_s``."""
        first = int(start_s / self.step_s)
        return float(self.snr_db[first : max(first + 1, int(np.ceil(end_s / self.step_s)))].mean())

    def round_trip(self, time_s: float) -> float:
        return float(self.round_trip_s[min(int(time_s / self.step_s), len(self.round_trip_s) - 1)])


def make_track(
    channel: ChannelDescription,
    fading: ChannelDescription | None = None,
    symbol_rate: float = 1e6,
    delay_s: float | None = None,
    seconds: float = 120.0,
    seed: int = 1,
) -> Track:
    """The Es/N0 of a channel over time: its pass if it has one, else its mean, times its fading (or that of ``fading``).

    ``delay_s`` is the age of a report when it can be used; None takes the round trip of the pass and 50 ms, or that of a
    geostationary satellite, 0.5 s.
    """
    process = (fading or channel).fading
    if isinstance(process, NtnTdl):
        raise ChannelError("fading.model: a delay line has no single Es/N0; take a flat fading such as rician-k10")
    rate = RATE_HZ if process is None else max(RATE_HZ, 8 * process.doppler_hz)
    elevation = None
    if channel.orbit is not None:
        flight = SatellitePass(channel.orbit, channel.link, symbol_rate, channel.snr_db)
        if flight.peak_snr_db is None:
            raise ChannelError(f"channel {channel.name} has no link budget that tells the Es/N0; give --snr")
        time = np.arange(int(flight.duration_s * rate)) / rate
        coarse = np.linspace(0, flight.duration_s * (1 - 1e-9), 200)
        states = [flight.state(float(t)) for t in coarse]
        mean = np.interp(time, coarse, [float(s.snr_db or 0.0) for s in states])
        elevation = np.interp(time, coarse, [s.elevation_deg for s in states])
        trip = np.interp(time, coarse, [2e3 * s.range_km / LIGHT_M_S for s in states]) + 0.05
    else:
        if channel.snr_db is None:
            raise ChannelError(f"channel {channel.name} has no Es/N0 of its own; give --snr")
        mean, trip = np.full(int(seconds * rate), float(channel.snr_db)), np.full(int(seconds * rate), 0.5)
    snr = mean.copy()
    if process is not None:
        gains = FlatFading(process, rate, seed).take(len(mean))
        snr += 20 * np.log10(np.maximum(np.abs(gains), 1e-4))
    if delay_s is not None:
        trip = np.full(len(mean), delay_s)
    return Track(1 / rate, snr, mean, trip, elevation)


@dataclass
class Outcome:
    """What one way of choosing gave. Arrays are of frames; ``value`` is that of the metric, NaN for a lost frame."""

    name: str
    time_s: Array
    snr_db: Array
    ratio: Array
    value: Array
    reached: NDArray[np.bool_]
    good_tiles_per_s: float

    def to_dict(self) -> dict[str, Any]:
        changes = int(np.count_nonzero(np.diff(self.ratio)))
        return {
            "name": self.name,
            "frames": len(self.time_s),
            "share_reached": round(float(self.reached.mean()), 4),
            "good_tiles_per_s": round(self.good_tiles_per_s, 2),
            "mean_value": None if np.isnan(self.value).all() else round(float(np.nanmean(self.value)), 3),
            "lost": int(np.isnan(self.value).sum()),
            "mean_ratio": round(float(self.ratio.mean()), 5),
            "changes": changes,
        }


def fly(
    track: Track,
    measured: Measured,
    wanted: float,
    frame_s: Callable[[float], float],
    tiles_per_frame: int,
    name: str,
    choose: Callable[[float], float] | Controller,
    seed: int = 1,
) -> Outcome:
    """Send frames back to back over a track.

    ``frame_s(ratio)`` is how long a frame lasts; ``choose(now)`` gives the ratio of the frame that begins now. A controller is told
    what the receiver measured, once that is known at the transmitter, and of lost frames with the next that arrived.
    """
    rng = np.random.default_rng(seed)
    limit = measured.loss.of_value(wanted)
    now = 0.0
    waiting: list[tuple[float, float, float, float | None]] = []  # known at, sent at, measured (NaN: lost), forecast
    rows: list[tuple[float, float, float, float, bool]] = []
    while True:
        if isinstance(choose, Controller):
            _tell(choose, waiting, now)
            ratio, forecast = _ratio(choose.choose(now)), choose.forecast
        else:
            ratio, forecast = choose(now), None
        end = now + frame_s(ratio)
        if end > track.duration_s:
            break
        snr = track.between(now, end)
        known = end + track.round_trip(now)
        if snr < LOST_DB:
            rows.append((now, snr, ratio, np.nan, False))
            waiting.append((known, now, np.nan, forecast))
        else:
            loss = float(measured.at(ratio, snr))
            rows.append((now, snr, ratio, measured.loss.value(loss), loss <= limit))
            waiting.append((known, now, snr + ESTIMATE_DB * rng.standard_normal(), forecast))
        now = end
    if not rows:
        raise ControlError(
            f"a frame of {frame_s(ratio):.3g} s ({name}) is longer than the track of {track.duration_s:.3g} s: "
            "more --seconds or --symbol-rate, or fewer --tiles-per-frame"
        )
    time, snrs, ratios, values, reached = (np.array(column) for column in zip(*rows, strict=True))
    good = float(reached.sum()) * tiles_per_frame / now
    return Outcome(name, time, snrs, ratios, values, reached.astype(bool), good)


def _tell(controller: Controller, waiting: list[tuple[float, float, float, float | None]], now: float) -> None:
    """Tell a controller what is known by now; of lost frames only with a later one that arrived."""
    arrived = [i for i, (known, _, snr, _) in enumerate(waiting) if known <= now and not np.isnan(snr)]
    told = arrived[-1] + 1 if arrived else 0
    for known, sent, snr, forecast in waiting[:told]:
        if np.isnan(snr):
            controller.lost(sent, forecast)
        else:
            controller.report(snr, sent, known, forecast)
    del waiting[:told]


def compare(
    track: Track,
    measured: Measured,
    wanted: float,
    controllers: Sequence[tuple[str, Controller]],
    frame_s: Callable[[float], float],
    tiles_per_frame: int = 64,
    seed: int = 1,
) -> list[Outcome]:
    """Every fixed ratio, each controller, and who knows each frame's Es/N0 beforehand.

    Where no ratio is enough, foreknowledge sends the largest, as a controller does.
    """

    def run(name: str, choose: Callable[[float], float] | Controller) -> Outcome:
        return fly(track, measured, wanted, frame_s, tiles_per_frame, name, choose, seed)

    limit = measured.loss.of_value(wanted)

    def foreknowing(now: float) -> float:
        for ratio in measured.ratios.tolist():
            if float(measured.at(ratio, track.between(now, now + frame_s(ratio)))) <= limit:
                return float(ratio)
        return float(measured.ratios[-1])

    outcomes = [run(f"1/{1 / r:.4g}", lambda now, r=r: r) for r in measured.ratios.tolist()]  # type: ignore[misc]
    outcomes += [run(name, controller) for name, controller in controllers]
    return [*outcomes, run("foreknowledge", foreknowing)]


def _ratio(choice: Choice) -> float:
    assert choice.ratio is not None
    return choice.ratio
