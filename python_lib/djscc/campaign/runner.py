# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a campaign: every point of a plan, over several processes, into one run folder; a run that was stopped goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from djscc.campaign.plan import Plan, Point, resolve_data
from djscc.campaign.points import channel_of, codec_of
from djscc.campaign.reception import save_originals
from djscc.campaign.runlog import RunError, RunLog
from djscc.campaign.sender import scene_id
from djscc.imagery import TileSet, load_tiles


@cache
def _tiles(data: str, limit: int | None) -> TileSet:
    return load_tiles(resolve_data(data)).take(limit)


def _prepare_worker(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets the points under way end


def _run(plan: Plan, point: Point, folder: Path) -> int:
    from djscc.campaign.points import run_point

    return len(run_point(plan, point, _tiles(plan.data, plan.limit), RunLog(folder)))


def run_campaign(plan: Plan, folder: str | Path, workers: int | None = None, progress: bool = True) -> RunLog:
    """Run what is not yet in the log of ``folder``; returns the log.

    Raises a DjsccError when the plan, the data or a point fails; all that was logged by then stays, and the same call goes on
    from there.
    """
    log = RunLog(folder)
    tiles = _tiles(plan.data, plan.limit)
    codecs = {name: codec_of(name, plan.decoder) for name in plan.codecs}
    for point in plan.points():  # refuse a plan that cannot be run before anything is sent
        codecs[point.codec].layers_for_ratio(point.ratio)
        channel_of(plan, point)
    codec_ids = {name: f"{codec.id:08x}" for name, codec in codecs.items()}
    log.start(plan.to_dict() | {"codec_ids": codec_ids, "tiles": len(tiles), "scene": f"{scene_id(tiles.images):08x}"})
    save_originals(log, tiles, plan.pictures)
    logged = Counter(r.get("point") for r in log.records()) if log.frames.exists() else Counter()
    frames = plan.repeat * -(-len(tiles) // plan.tiles_per_frame)
    points = list(plan.points())
    todo = [p for p in points if logged[p.key] < frames]
    cores = len(os.sched_getaffinity(0))
    workers = max(1, min(workers or cores, len(todo)))
    threads = max(1, cores // workers)
    with tqdm(total=len(points), initial=len(points) - len(todo), unit="point", disable=not progress) as bar:
        if workers == 1:
            for point in todo:
                bar.set_postfix_str(point.key)
                _run(plan, point, log.folder)
                bar.update()
        else:
            _run_pool(plan, todo, log, workers, threads, bar)
    return log


def _run_pool(plan: Plan, todo: list[Point], log: RunLog, workers: int, threads: int, bar: Any) -> None:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_prepare_worker, initargs=(threads,))
    try:
        pending: dict[Future[int], Point] = {pool.submit(_run, plan, p, log.folder): p for p in todo}
        while pending:
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                point = pending.pop(future)
                future.result()
                bar.set_postfix_str(point.key)
                bar.update()
    except BrokenProcessPool as error:
        raise RunError(
            f"{log.folder}: a worker process died (out of memory, or killed); run the same command again to go on"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
