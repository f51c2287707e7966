# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc campaign``, ``fit``, ``report`` and ``plan``: from a plan to run logs, a fitted model, a page, and links."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from djscc import DATA
from djscc.campaign.plan import Plan
from djscc.campaign.runlog import RunLog
from djscc.cli import options

if TYPE_CHECKING:
    from djscc.semantic_loss import MetricFit


def add_commands(commands: Any) -> None:
    campaign = options.command(
        commands,
        "campaign",
        run_campaign,
        "run every point of a plan into one run folder; run it again to go on after a stop",
        f"A plan is a YAML file, or the name of a shipped one ({options.shipped('plans')}).",
        "djscc campaign demo --run runs/demo",
    )
    campaign.add_argument("plan", metavar="PLAN.yaml", help="plan file, or the name of a shipped plan")
    campaign.add_argument("--run", dest="run_folder", required=True, metavar="DIR", help="run folder")
    campaign.add_argument("--data", metavar="DIR", help="send these tiles instead of the plan's")
    campaign.add_argument(
        "--limit", type=options.count, metavar="N", help="take N tiles, spread evenly over the folder"
    )
    where = campaign.add_mutually_exclusive_group()
    where.add_argument("--workers", type=options.count, metavar="N", help="processes (default: one a core)")
    where.add_argument(
        "--scheduler",
        metavar="ADDR",
        help="run over the Dask cluster whose scheduler is there, such as tcp://host:8786; its workers need djscc and the codecs, "
        "and no files of this machine",
    )
    options.add_json(campaign)

    fit = options.command(
        commands,
        "fit",
        run_fit,
        "fit the semantic-loss model to run logs",
        "Fits every form of the unified semantic loss over (ratio, Es/N0), selects by held-out error, and writes the model.",
        "djscc fit runs/demo --metric psnr --json model.json",
    )
    fit.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    fit.add_argument(
        "--metric", default="psnr", help="psnr, ssim, ms_ssim, lpips, mse, accuracy or agreement (default: psnr)"
    )
    options.add_seed(fit)
    options.add_json(fit)

    report = options.command(
        commands,
        "report",
        run_report,
        "make one self-contained HTML page of run logs",
        example="djscc report runs/demo --out runs/demo/report",
    )
    report.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    report.add_argument("--out", required=True, metavar="DIR", help="folder of the page (index.html) and its figures")

    plan = options.command(
        commands,
        "plan",
        run_plan,
        "plan a link: powers and ratios that maximise the smallest weighted semantic performance",
        example=f"djscc plan model.json {DATA / 'scenarios' / 'leo-downlink.yaml'} --json plan.json",
    )
    plan.add_argument("model", metavar="MODEL.json", help="model that `djscc fit --json` wrote")
    plan.add_argument("scenario", metavar="SCENARIO.yaml", help="users, channels, power, bandwidth, deadline")
    plan.add_argument(
        "--wanted",
        type=options.number,
        metavar="P",
        help="also give the least power and the least bandwidth for this performance (1 - weight x loss) of every user",
    )
    options.add_json(plan)


def run_campaign(arguments: argparse.Namespace) -> int:
    from djscc.campaign.runner import run_campaign as run
    from djscc.campaign.summary import point_means, speed_text, table

    plan = Plan.load(options.named_file("plans", arguments.plan), data=arguments.data, limit=arguments.limit)
    log = run(plan, arguments.run_folder, arguments.workers, scheduler=arguments.scheduler)
    sessions = log.sessions()
    print(table(log.records()))
    if sessions:
        print(speed_text(sessions[-1]))
    points = point_means(log.records())
    options.write_json(
        arguments.json, {"run": str(log.folder), "plan": plan.name, "points": points, "sessions": sessions}
    )
    return 0


def run_fit(arguments: argparse.Namespace) -> int:
    from djscc.semantic_loss import fit_run_logs

    tiles = [tile for run in arguments.runs for tile in RunLog(run, must_exist=True).tiles()]
    report = fit_run_logs(tiles, arguments.metric, seed=arguments.seed)
    for fit in report.fits:
        print(fit_text(fit))
    options.write_json(arguments.json, report.to_dict())
    return 0 if any(fit.model for fit in report.fits) else 1


def fit_text(fit: MetricFit) -> str:
    """The forms fitted to one series, as a table, and the selected one with its parameters."""
    lines = [f"{fit.series}, {fit.loss.definition}, {len(fit.cells)} points"]
    lines.append(f"  {'form':<28}{'R2':>8}{'MAPE %':>8}   held out{'R2':>8}{'MAPE %':>8}")
    for form in fit.fits:
        if form.quality is None or form.held_out is None:
            lines.append(f"  {form.form.name:<28} refused: {form.refused}")
            continue
        mark = "*" if fit.selected is form else " "
        figures = f"{form.quality.r2:8.4f}{_percent(form.quality.mape):>8}           {form.held_out.r2:8.4f}"
        lines.append(f"{mark} {form.form.name:<28}{figures}{_percent(form.held_out.mape):>8}")
    if fit.model is not None:
        intervals = fit.model.parameter_intervals()
        values = zip(fit.model.form.names, fit.model.parameters, strict=True)
        lines.append(f"  {fit.model.form.formula}")
        lines.append(
            "  " + ", ".join(f"{name} = {value:.4g}{_interval(intervals.get(name))}" for name, value in values)
        )
    return "\n".join([*lines, *(f"  note: {warning}" for warning in fit.warnings)])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f" [{bounds[0]:.3g}, {bounds[1]:.3g}]"


def run_report(arguments: argparse.Namespace) -> int:
    from djscc.report import write_report

    for run in arguments.runs:
        RunLog(run, must_exist=True)
    page = write_report([Path(run) for run in arguments.runs], Path(arguments.out))
    print(page)
    return 0


def run_plan(arguments: argparse.Namespace) -> int:
    from djscc.planning import load_scenario, plan_links
    from djscc.semantic_loss import load_models

    plan = plan_links(load_models(arguments.model), load_scenario(arguments.scenario), arguments.wanted)
    print(plan.table())
    options.write_json(arguments.json, plan.to_dict())
    return 0
