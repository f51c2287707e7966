# SPDX-License-Identifier: GPL-3.0-or-later
"""Links planned with a fitted semantic loss: which user gets which ratio, power and bandwidth to serve the worst off best."""

from djscc.planning.allocation import Allocation, Share
from djscc.planning.plan import LinkPlan, plan_links
from djscc.planning.scenario import Scenario, ScenarioError, User, load_scenario, parse_scenario

__all__ = [
    "Allocation",
    "LinkPlan",
    "Scenario",
    "ScenarioError",
    "Share",
    "User",
    "load_scenario",
    "parse_scenario",
    "plan_links",
]
