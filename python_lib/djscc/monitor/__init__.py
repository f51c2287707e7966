# SPDX-License-Identifier: GPL-3.0-or-later
"""A page in the browser that shows what a receiver receives, as it comes."""

from djscc.monitor.server import MonitorServer
from djscc.monitor.state import MonitorState

__all__ = ["MonitorServer", "MonitorState"]
