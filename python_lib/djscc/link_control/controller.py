# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller of a link: late reports of Es/N0 in, the cheapest choice that will give the wanted quality out.

Es/N0 at the time when the next frame will be sent is forecast from the reports by a level and a trend (Holt 1957, with gains for
irregular intervals). How far such forecasts fell short before, a quantile over the last seconds, is the fade margin: it grows by
itself with fading that is faster than the round trip, and shrinks with a quiet channel.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from djscc.link_control.choices import Choice, ControlError


@dataclass(frozen=True)
class ControllerSettings:
    """How a controller follows its link.

    reliability   share of the frames that shall reach the wanted quality.
    margin_db     kept beside the margin that follows from past forecasts, for errors of model and estimate.
    hysteresis_db more than the needed Es/N0 before it changes to a cheaper choice; to a safer one it changes at once.
    level_s       time constant of the level that forecasts start from.
    trend_s       time constant of the trend.
    memory_s      how long past forecasts count.
    first_margin_db  the fade margin before there are past forecasts.
    timeout_s     without a report for so long, it goes to the safest choice.
    """

    reliability: float = 0.95
    margin_db: float = 0.2
    hysteresis_db: float = 0.5
    level_s: float = 0.3
    trend_s: float = 10.0
    memory_s: float = 20.0
    first_margin_db: float = 3.0
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.reliability < 1:
            raise ControlError(f"reliability is {self.reliability:g}: give a share from 0.5 to below 1, such as 0.95")
        for name in ("margin_db", "hysteresis_db", "first_margin_db"):
            if not 0 <= getattr(self, name) <= 30:
                raise ControlError(f"{name} is {getattr(self, name):g}: give 0 to 30 dB")
        for name in ("level_s", "trend_s", "memory_s", "timeout_s"):
            if not getattr(self, name) > 0:
                raise ControlError(f"{name} is {getattr(self, name):g}: give seconds above 0")


LEAST_ERRORS = 20  # past forecasts before they make the margin
MOST_ERRORS = 1000
LOST_DB = -8.0  # what a lost frame had at most: the receiver finds those above it
TREND_LIMIT_DB_S = 1.0  # a pass changes slower; what is faster is fading, which has no trend


class Controller:
    """Times are seconds of one clock, the transmitter's.

    Args:
        choices: what there is to choose from, such as ``choices_of_model`` gives.
        settings: how to follow the link.
    """

    def __init__(self, choices: Sequence[Choice], settings: ControllerSettings | None = None) -> None:
        if not choices:
            raise ControlError("a controller needs something to choose from: give at least one choice")
        self.settings = settings or ControllerSettings()
        self.choices = sorted(choices, key=lambda choice: choice.cost)
        usable = [choice for choice in self.choices if math.isfinite(choice.snr_db)]
        # those that do at the lowest SNR measured need it alike: of them, the dearest does furthest below it
        self.safest = min(usable, key=lambda choice: (choice.snr_db, -choice.cost)) if usable else self.choices[-1]
        self.current = self.safest
        self._level: float | None = None
        self._trend = 0.0
        self._measured_s = -math.inf  # when the frame of the newest report was sent
        self._heard_s = -math.inf
        self.forecast: float | None = None  # what the last choice reckoned with, in dB; None before the first report
        self._errors: deque[tuple[float, float]] = deque(maxlen=MOST_ERRORS)  # time sent, measured less forecast

    def report(self, snr_db: float, sent_s: float, now_s: float, forecast_db: float | None = None) -> None:
        """The receiver measured ``snr_db`` on a frame sent at ``sent_s``, as is known here at ``now_s``.

        ``forecast_db`` is what :attr:`forecast` was after the choice for that frame. A report on a frame older than that of the
        last report is taken into the margin alone.
        """
        if not math.isfinite(snr_db):
            return
        self._heard_s = max(self._heard_s, now_s)
        if forecast_db is not None:
            self._errors.append((sent_s, snr_db - forecast_db))
        if sent_s <= self._measured_s:
            return
        step, self._measured_s = sent_s - self._measured_s, sent_s
        if self._level is None or step > 10 * self.settings.trend_s:
            self._level, self._trend = snr_db, 0.0
            return
        expected = self._level + self._trend * step
        surprise = snr_db - expected
        self._level = expected + surprise * -math.expm1(-step / self.settings.level_s)
        self._trend += surprise * -math.expm1(-step / self.settings.trend_s) / self.settings.trend_s
        self._trend = min(TREND_LIMIT_DB_S, max(-TREND_LIMIT_DB_S, self._trend))

    def lost(self, sent_s: float, forecast_db: float | None = None) -> None:
        """A frame sent at ``sent_s`` did not arrive, though a later one did: in the margin it counts as one at ``LOST_DB``."""
        if forecast_db is not None:
            self._errors.append((sent_s, min(0.0, LOST_DB - forecast_db)))

    def forecast_db(self, now_s: float) -> float | None:
        """Es/N0 expected of a frame sent now; None before the first report."""
        if self._level is None:
            return None
        return self._level + self._trend * min(now_s - self._measured_s, self.settings.timeout_s)

    def fade_margin_db(self, now_s: float) -> float:
        """How much less than forecast is to be reckoned with, from the forecasts of the last seconds; not below 0."""
        recent = [error for sent_s, error in self._errors if sent_s >= now_s - self.settings.memory_s]
        if len(recent) < LEAST_ERRORS:
            return self.settings.first_margin_db
        return max(0.0, -float(np.quantile(recent, 1 - self.settings.reliability)))

    def choose(self, now_s: float) -> Choice:
        """The choice for the frame that is made now; :attr:`forecast` is what it reckons with."""
        self.forecast = forecast = self.forecast_db(now_s)
        if forecast is None or now_s - self._heard_s > self.settings.timeout_s:
            self.forecast, self.current = None, self.safest
            return self.current
        sure = forecast - self.fade_margin_db(now_s) - self.settings.margin_db
        if sure < self.current.snr_db:
            self.current = self._cheapest(sure)
        else:
            cheaper = self._cheapest(sure - self.settings.hysteresis_db)
            if cheaper.cost < self.current.cost:
                self.current = cheaper
        return self.current

    def _cheapest(self, snr_db: float) -> Choice:
        return next((choice for choice in self.choices if choice.snr_db <= snr_db), self.safest)
