# SPDX-License-Identifier: GPL-3.0-or-later
"""One self-contained HTML page, with PNG figures beside it, that shows what runs sent, what arrived and what it was worth."""

from djscc.report.report import build_report, write_report
from djscc.report.runs import ReportError, Run, load_runs
from djscc.report.single import write_figure

__all__ = ["ReportError", "Run", "build_report", "load_runs", "write_figure", "write_report"]
