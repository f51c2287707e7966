# SPDX-License-Identifier: GPL-3.0-or-later
"""Semantic ACM over a link that varies, against fixed ratios: what ``djscc acm`` runs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from djscc.campaign.sender import FrameSource
from djscc.channels import ChannelDescription
from djscc.codec import Codec
from djscc.errors import writing_picture
from djscc.imagery import TileSet
from djscc.link_control.choices import Choice, ControlError, choices_of_model
from djscc.link_control.controller import Controller, ControllerSettings
from djscc.link_control.fading_pass import Outcome, Track, compare, make_track
from djscc.link_control.measured import Measured
from djscc.semantic_loss import FittedModel
from djscc.waveform import Modulator, WaveformSettings

SNR_DB = tuple(range(-10, 23, 2))


@dataclass(frozen=True)
class Comparison:
    """One scenario, and what each way of choosing the ratio gave in it."""

    name: str
    track: Track
    outcomes: list[Outcome]
    choices: list[Choice]
    about: dict[str, Any]

    @property
    def adaptive(self) -> Outcome:
        """The first controller's."""
        return next(outcome for outcome in self.outcomes if outcome.name.startswith("adaptive"))

    def to_dict(self) -> dict[str, Any]:
        needed = {
            choice.name: round(choice.snr_db, 2) if np.isfinite(choice.snr_db) else None for choice in self.choices
        }
        outcomes = [outcome.to_dict() for outcome in self.outcomes]
        return {"scenario": self.name, **self.about, "needed_snr_db": needed, "outcomes": outcomes}

    def table(self) -> str:
        lines = [f"{self.name}: wanted {self.about['metric']} {self.about['wanted']:g}"]
        lines.append(f"  {'ratio':<14}{'reached':>9}{'good tiles/s':>14}{'mean':>9}{'lost':>7}{'changes':>9}")
        for outcome in self.outcomes:
            o = outcome.to_dict()
            mean = "-" if o["mean_value"] is None else f"{o['mean_value']:.2f}"
            lines.append(
                f"  {o['name']:<14}{100 * o['share_reached']:>8.1f}%{o['good_tiles_per_s']:>14.1f}{mean:>9}"
                f"{o['lost']:>7}{o['changes']:>9}"
            )
        return "\n".join(lines)


def run_acm(
    measured: Measured,
    model: FittedModel,
    codec: Codec,
    tiles: TileSet,
    channel: ChannelDescription,
    wanted: float,
    fading: ChannelDescription | None = None,
    settings: ControllerSettings | None = None,
    reliabilities: Sequence[float] = (0.95, 0.8),
    symbol_rate: float = 1e6,
    tiles_per_frame: int = 64,
    delay_s: float | None = None,
    seconds: float = 120.0,
    seed: int = 1,
) -> Comparison:
    """Compare fixed ratios, controllers of several reliabilities, and foreknowledge over one channel.

    A frame holds ``tiles_per_frame`` tiles, or all of ``tiles`` where they are fewer.
    Raises ControlError where nothing reaches ``wanted``.
    """
    settings = settings or ControllerSettings()
    tiles_per_frame = min(tiles_per_frame, len(tiles))
    track = make_track(channel, fading, symbol_rate, delay_s, seconds, seed)
    ratios = [r for r in measured.ratios.tolist() if bool(model.covers(r, model.snr_db[0]))]
    choices = choices_of_model(model, wanted, ratios)
    modulator = Modulator(WaveformSettings(symbol_rate))
    seconds_of = {
        ratio: modulator.on_air_symbols(
            FrameSource(tiles, codec, codec.layers_for_ratio(ratio), tiles_per_frame=tiles_per_frame).header(0)
        )
        / symbol_rate
        for ratio in measured.ratios.tolist()
    }
    controllers = [
        (f"adaptive {100 * share:g} %", Controller(choices, dataclasses.replace(settings, reliability=share)))
        for share in reliabilities
    ]
    outcomes = compare(track, measured, wanted, controllers, seconds_of.__getitem__, tiles_per_frame, seed)
    about = {
        "channel": channel.name,
        "fading": None if fading is None else fading.name,
        "snr_db": channel.snr_db,
        "metric": measured.loss.metric,
        "wanted": wanted,
        "symbol_rate": symbol_rate,
        "tiles_per_frame": tiles_per_frame,
        "duration_s": round(track.duration_s, 1),
        "delay_s": [round(float(track.round_trip_s.min()), 3), round(float(track.round_trip_s.max()), 3)],
        "controller": {key: value for key, value in dataclasses.asdict(settings).items() if key != "reliability"},
        "seed": seed,
    }
    name = channel.name if fading is None else f"{channel.name} with the fading of {fading.name}"
    return Comparison(name, track, outcomes, choices, about)


def plot(comparisons: list[Comparison], out: Path) -> None:
    """For each scenario Es/N0 and the ratio chosen over time, and what every way of choosing gave."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 5.2 * len(comparisons)), layout="constrained")
    grid = figure.add_gridspec(2 * len(comparisons), 2, width_ratios=[1.5, 1])
    for row, comparison in enumerate(comparisons):
        axes = [figure.add_subplot(grid[2 * row + i, 0]) for i in range(2)]
        _over_time(axes[0], axes[1], comparison)
        _outcomes(figure.add_subplot(grid[2 * row : 2 * row + 2, 1]), comparison)
    try:
        with writing_picture(out, ControlError):
            figure.savefig(out, dpi=100)
    finally:
        plt.close(figure)


def _over_time(above: Any, below: Any, comparison: Comparison) -> None:
    adaptive = comparison.adaptive
    time = adaptive.time_s
    above.plot(time, adaptive.snr_db, ".", ms=2, color="#56b4e9", label="of each frame")
    track = comparison.track
    if track.elevation_deg is not None:
        at = np.arange(len(track.mean_db)) * track.step_s
        above.plot(at[::100], track.mean_db[::100], color="#0072b2", lw=1.2, label="without fading")
    above.set_ylabel("Es/N0 (dB)")
    above.legend(frameon=False, loc="best", fontsize=8)
    above.set_title(comparison.name, loc="left", fontsize=10)
    below.step(time, adaptive.ratio, where="post", color="#d55e00", lw=0.9)
    below.set_yscale("log", base=2)
    ratios = [choice.ratio for choice in comparison.choices if choice.ratio is not None]
    below.set_yticks(ratios, [f"1/{1 / ratio:.0f}" for ratio in ratios])
    below.minorticks_off()
    missed = ~adaptive.reached
    below.plot(time[missed], adaptive.ratio[missed], "|", ms=5, color="#999999", label="wanted quality missed")
    below.legend(frameon=False, loc="best", fontsize=8)
    below.set_ylabel(f"ratio, {adaptive.name}")
    below.set_xlabel("time (s)")
    for axis in (above, below):
        axis.grid(alpha=0.25)
        axis.set_xlim(0, track.duration_s)


def _outcomes(axis: Any, comparison: Comparison) -> None:
    fixed = [o for o in comparison.outcomes if o.name.startswith("1/")]
    others = [o for o in comparison.outcomes if not o.name.startswith("1/")]
    colours = [
        *itertools.islice(itertools.cycle(("#d55e00", "#e69f00", "#cc79a7", "#999999")), len(others) - 1),
        "#009e73",
    ]
    x, y = [100 * float(o.reached.mean()) for o in fixed], [o.good_tiles_per_s for o in fixed]
    axis.plot(x, y, "o-", color="#0072b2", lw=0.8, ms=5, label="fixed ratios")
    for outcome, px, py in zip(fixed, x, y, strict=True):
        if px < 1:  # they all lie at the origin
            continue
        axis.annotate(outcome.name, (px, py), textcoords="offset points", xytext=(5, 5), fontsize=8)
    for outcome, colour in zip(others, colours, strict=True):
        share = 100 * float(outcome.reached.mean())
        axis.plot(share, outcome.good_tiles_per_s, "D", color=colour, ms=8, label=outcome.name)
    about = comparison.about
    unit = " dB" if about["metric"] == "psnr" else ""
    axis.set_xlabel(f"frames that reach {about['metric'].upper()} {about['wanted']:g}{unit} (%)")
    axis.set_ylabel("good tiles per second")
    axis.set_xlim(-3, 103)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=9, loc="upper left")
