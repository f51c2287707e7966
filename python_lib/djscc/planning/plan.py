# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan a scenario with fitted models: the max-min allocation beside its baselines, and what a wanted quality takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from djscc.planning.allocation import Allocation, least_bandwidth, least_power, max_min
from djscc.planning.baselines import equal_sharing, rate_max, water_filling
from djscc.planning.options import SNR_STEP_DB, all_options
from djscc.planning.scenario import Scenario, ScenarioError
from djscc.semantic_loss import FittedModel


@dataclass(frozen=True)
class LinkPlan:
    """A planned scenario. ``best`` is the max-min allocation, ``baselines`` the others on the same scenario; ``least_power`` and
    ``least_bandwidth`` are for the performance in ``wanted``, or for the users' wanted values ("the users' values"), None where
    nothing was wanted or it cannot be had."""

    scenario: Scenario
    best: Allocation
    baselines: tuple[Allocation, ...]
    wanted: float | str | None = None
    least_power: Allocation | None = None
    least_bandwidth: Allocation | None = None

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "scenario": self.scenario.name,
            "snr_step_db": SNR_STEP_DB,
            "best": self.best.to_dict(),
            "baselines": [allocation.to_dict() for allocation in self.baselines],
        }
        if self.wanted is not None:
            result["wanted"] = self.wanted
            result["least_power"] = None if self.least_power is None else self.least_power.to_dict()
            result["least_bandwidth"] = None if self.least_bandwidth is None else self.least_bandwidth.to_dict()
        return result

    def table(self) -> str:
        """The plan as text: performance of each allocation, and the shares of the best."""
        lines = [f"{self.scenario.name}: smallest performance (1 - weight x loss)"]
        for allocation in (self.best, *self.baselines):
            lines.append(f"  {allocation.name:<18} {allocation.performance:8.4f}   {allocation.power_w:10.4g} W")
        lines.append(f"  no allocation reaches {self.best.bound:.4f}: the gap is at most {self.best.gap:.1e}")
        lines += _shares(self.best)
        if self.wanted is not None:
            aim = self.wanted if isinstance(self.wanted, str) else f"a performance of {self.wanted:g}"
            for name, found in (("power", self.least_power), ("bandwidth", self.least_bandwidth)):
                if found is None:
                    other = "bandwidth" if name == "power" else "power"
                    lines.append(f"least {name} for {aim}: cannot be had within the {other} and the measured SNRs")
                    continue
                used = f"{found.power_w:.4g} W and {found.bandwidth_hz / 1e3:.4g} kHz"
                given = f"{self.scenario.power_w:g} W and {self.scenario.bandwidth_hz / 1e3:g} kHz"
                lines += [f"least {name} for {aim}: {used} of {given}", *_shares(found)]
        return "\n".join(lines)


def _shares(allocation: Allocation) -> Iterator[str]:
    """Lines of a table: what each user is given."""
    yield f"{'user':<16}{'ratio':>9}{'Es/N0 dB':>10}{'power W':>11}{'kHz':>10}{'performance':>13}  {'limited by':<12}values"
    for s in allocation.shares:
        ratio = "-" if s.ratio is None else f"1/{1 / s.ratio:.4g}"
        values = ", ".join(f"{metric} {value:.4g}" for metric, value in s.values.items())
        yield (
            f"{s.user:<16.16}{ratio:>9}{s.snr_db:>10.2f}{s.power_w:>11.4g}{s.bandwidth_hz / 1e3:>10.4g}"
            f"{s.performance:>13.4f}  {s.metric:<12}{values}"
        )


def plan_links(
    models: FittedModel | Iterable[FittedModel], scenario: Scenario, wanted: float | None = None
) -> LinkPlan:
    """Plan a scenario with fitted models of the metrics, codecs and channels that its users name.

    ``wanted`` is the performance of every user that is to be had with the least power or bandwidth; None takes the values that
    users want, where there are any. Raises ScenarioError where a model is missing or a user does not say which of several is its
    own, or where the scenario cannot serve all users even at the smallest ratio and the lowest measured SNR.
    """
    options = all_options(scenario, [models] if isinstance(models, FittedModel) else list(models))
    best = max_min(options, scenario)
    if best is None:
        least = least_power(options, scenario, float("-inf"))
        if least is None:
            needed = sum(int(o.symbols[0]) for o in options)
            raise ScenarioError(
                f"{scenario.name}: {scenario.symbols:.0f} payload symbols fit into bandwidth and deadline, {needed} are needed for "
                "the smallest ratio of all users; give more bandwidth or time, or send fewer images"
            )
        raise ScenarioError(
            f"{scenario.name}: {scenario.power_w:g} W do not bring all users to the lowest SNR that the models were fitted to, "
            f"{least.power_w:.4g} W would; give more power, or measure at lower SNR"
        )
    baselines = (equal_sharing(options, scenario), water_filling(options, scenario), rate_max(options, scenario))
    if wanted is None and not any(user.wanted for user in scenario.users):
        return LinkPlan(scenario, best, baselines)
    return LinkPlan(
        scenario,
        best,
        baselines,
        "the users' values" if wanted is None else wanted,
        least_power(options, scenario, wanted),
        least_bandwidth(options, scenario, wanted),
    )
