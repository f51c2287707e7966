# SPDX-License-Identifier: GPL-3.0-or-later
"""Campaigns: plans, the sending and receiving ends of a run, and the run log that the semantic-loss fit is made from."""

from djscc.campaign.plan import Plan, PlanError, Point, parse_ratio, resolve_data
from djscc.campaign.runlog import RunError, RunLog

__all__ = ["Plan", "PlanError", "Point", "RunError", "RunLog", "parse_ratio", "resolve_data"]
