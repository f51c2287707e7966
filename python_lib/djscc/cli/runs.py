# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc campaign``, ``fit``, ``report`` and ``plan``: from a plan to run logs, a fitted model, a page, and links."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from djscc import __version__
from djscc.campaign.plan import Plan
from djscc.campaign.runlog import RunLog
from djscc.cli import options


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
    campaign.add_argument(
        "--task",
        dest="tasks",
        action="append",
        metavar="NAME",
        help="judge what is received by this task instead of the plan's, a shipped one or a folder (may be given several times)",
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
        "Fits every form of the semantic loss over (ratio, Es/N0) to each metric, and selects by the error at points left out of\n"
        "the fit: one form for all metrics, codecs and channels that are fitted together. Writes the models.",
        "djscc fit runs/demo --metric all --json model.json",
    )
    fit.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    fit.add_argument(
        "--metric",
        action="append",
        metavar="M",
        help="psnr, ssim, ms_ssim, lpips, mse, accuracy, agreement, task_loss (of one task of several: accuracy:NAME), or all that "
        "the logs hold; several times for several (default: psnr)",
    )
    fit.add_argument("--form", action="append", metavar="NAME", help="try this form only; several times for several")
    options.add_seed(fit)
    options.add_json(fit)

    report = options.command(
        commands,
        "report",
        run_report,
        "make one self-contained HTML page of run logs",
        "The page says what was sent, what arrived and what it is worth, and fits the semantic loss to it.\n"
        "--figure draws one picture instead: the scene as sent and received, a satellite pass over time, or the fitted loss.",
        "djscc report runs/demo --out runs/demo/report",
    )
    report.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    report.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder of the page (index.html) and its figures; the file of --figure",
    )
    report.add_argument(
        "--figure", choices=("scene", "pass", "loss"), help="draw this picture into the file --out instead"
    )
    report.add_argument(
        "--points", nargs="+", metavar="RATIO:DB", help="where to show the scene (default: 1/12:-5 1/12:5 1/12:15)"
    )
    report.add_argument(
        "--series", metavar="S", help="whose loss to draw, such as 'adaptive over awgn', where there are several"
    )

    plan = options.command(
        commands,
        "plan",
        run_plan,
        "plan a link: powers and ratios that maximise the smallest weighted semantic performance",
        "Beside it stand equal sharing, water-filling and the largest sum rate, and a bound that no allocation reaches.",
        example="djscc plan model.json leo-downlink --json plan.json",
    )
    plan.add_argument("models", nargs="+", metavar="MODEL.json", help="models that `djscc fit --json` wrote")
    plan.add_argument(
        "scenario",
        metavar="SCENARIO.yaml",
        help="users, channels, power, bandwidth, deadline: a file, or the name of a shipped one",
    )
    plan.add_argument(
        "--wanted",
        type=options.number,
        metavar="P",
        help="also give the least power and the least bandwidth for this performance (1 - weight x loss) of every user; "
        "without it, for the values that the scenario's users want",
    )
    plan.add_argument("--codec", metavar="NAME", help="take the models of this codec only")
    plan.add_argument("--channel", metavar="NAME", help="take the models of this channel only")
    options.add_json(plan)


def run_campaign(arguments: argparse.Namespace) -> int:
    from djscc.campaign.runner import run_campaign as run
    from djscc.campaign.summary import point_means, speed_text, table

    changes = {"data": arguments.data, "limit": arguments.limit, "tasks": arguments.tasks}
    plan = Plan.load(options.named_file("plans", arguments.plan), **changes)
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
    from djscc.semantic_loss import FitError, fit_run_logs
    from djscc.semantic_loss.tables import report_text

    tiles = [tile for run in arguments.runs for tile in RunLog(run, must_exist=True).tiles()]
    metrics = arguments.metric or ["psnr"]
    report = fit_run_logs(
        tiles,
        None if "all" in metrics else metrics,
        forms=arguments.form,
        seed=arguments.seed,
        provenance={"runs": [Path(run).resolve().name for run in arguments.runs], "djscc": __version__},
    )
    if not report.fits:
        raise FitError(
            f"{', '.join(arguments.runs)}: no received tile has a metric at a known ratio and SNR; originals are needed "
            "(transmit --log and djscc log), or a campaign"
        )
    print(report_text(report))
    options.write_json(arguments.json, report.to_dict())
    return 0 if any(fit.model for fit in report.fits) else 1


def run_report(arguments: argparse.Namespace) -> int:
    from djscc.report import ReportError, write_figure, write_report

    for option, figure in (("points", "scene"), ("series", "loss")):
        if getattr(arguments, option) is not None and arguments.figure != figure:
            raise ReportError(f"--{option} says what --figure {figure} draws; add that, or leave it out")
    if arguments.figure:
        print(write_figure(arguments.figure, arguments.runs, arguments.out, arguments.points, arguments.series))
        return 0
    for run in arguments.runs:
        RunLog(run, must_exist=True)
    page = write_report([Path(run) for run in arguments.runs], Path(arguments.out))
    print(page)
    return 0


def run_plan(arguments: argparse.Namespace) -> int:
    from djscc.planning import load_scenario, plan_links
    from djscc.semantic_loss import load_models

    models = [
        model
        for path in arguments.models
        for model in load_models(path)
        if arguments.codec in (None, model.provenance.get("codec"))
        and arguments.channel in (None, model.provenance.get("channel"))
    ]
    plan = plan_links(models, load_scenario(options.named_file("scenarios", arguments.scenario)), arguments.wanted)
    print(plan.table())
    options.write_json(arguments.json, plan.to_dict())
    return 0
