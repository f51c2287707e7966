# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a campaign: every point of a plan, over several processes or a Dask cluster, into one run folder; stopped, it goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from djscc import __version__
from djscc.campaign import parts as cutting
from djscc.campaign.collected import Collected
from djscc.campaign.parts import Effort, Part
from djscc.campaign.plan import Plan, resolve_data
from djscc.campaign.points import channel_of, codec_of, tasks_of
from djscc.campaign.reception import save_originals
from djscc.campaign.runlog import RunError, RunLog, now
from djscc.campaign.sender import scene_id
from djscc.channels import ChannelDescription
from djscc.codec import Codec
from djscc.imagery import TileSet, load_tiles
from djscc.timing import network_seconds

ATTEMPTS = 3  # times that parts are begun again, with no result between, after a process died


@dataclass(frozen=True)
class Job:
    """What all parts of a campaign share, as a worker needs it."""

    plan: Plan
    channels: dict[str, ChannelDescription]  # by point
    codec_ids: dict[str, str]  # of encoder and decoder, by name
    scene: int
    task_ids: dict[str, str] = field(default_factory=dict)  # by name
    version: str = __version__


def ids_of(codec: Codec) -> str:
    """What tells the weights of a codec from others: the ids of encoder and decoder."""
    return f"{codec.id:08x}/{codec.decoder_id}"


def _tiles_of(plan: Plan) -> TileSet:
    return _tiles(plan.data, plan.limit, codec_of(plan.codecs[0], plan.decoder).bands)


@cache
def _tiles(data: str, limit: int | None, bands: int) -> TileSet:
    return load_tiles(resolve_data(data), bands).take(limit)


def run_part(job: Job, part: Part, tiles: TileSet, log: RunLog | Collected) -> Effort:
    """Do one part; its records are in ``log`` by then. RunError when this is not the software that the campaign was begun with."""
    from djscc.campaign.points import run_point

    if job.version != __version__:
        raise RunError(
            f"djscc {__version__} is installed here, {job.version} where the campaign was begun; install one"
        )
    here, there = ids_of(codec_of(part.point.codec, job.plan.decoder)), job.codec_ids[part.point.codec]
    if here != there:
        raise RunError(
            f"codec {part.point.codec} has id {here} here, {there} where the campaign was begun; copy its folder"
        )
    if (tasks := {task.name: task.id for task in tasks_of(job.plan)}) != job.task_ids:
        raise RunError(f"tasks have ids {tasks} here, {job.task_ids} where the campaign was begun; copy their folders")
    started, networks, cpu = time.perf_counter(), network_seconds(), time.thread_time()
    channel = job.channels[part.point.key]
    run_point(job.plan, part.point, tiles, log, frames=part.frames, channel=channel, scene=job.scene)
    seconds, in_networks = time.perf_counter() - started, network_seconds() - networks
    return Effort(part.tiles, seconds, in_networks, time.thread_time() - cpu)


def _run(job: Job, part: Part, folder: Path) -> Effort:
    """Do one part where the run folder is at hand. A flowgraph logs frame by frame, symbols part by part: that is faster."""
    log, tiles = RunLog(folder), _tiles_of(job.plan)
    if job.plan.level == "flowgraph":
        return run_part(job, part, tiles, log)
    collected = Collected()
    try:
        return run_part(job, part, tiles, collected)
    finally:  # also of a part that was stopped
        collected.write(log)


def run_campaign(
    plan: Plan,
    folder: str | Path,
    workers: int | None = None,
    progress: bool = True,
    scheduler: str | None = None,
) -> RunLog:
    """Run what is not yet in the log of ``folder``; returns the log.

    Over ``workers`` local processes (None: one a core), or over the Dask cluster whose scheduler has the address ``scheduler``. The
    results are the same, whatever the number of workers. Raises a DjsccError when the plan, the data or a part fails; all that was
    logged by then stays, and the same call goes on from there.
    """
    log = RunLog(folder)
    tiles = _tiles_of(plan)
    points = list(plan.points())
    codecs = {point.codec: codec_of(point.codec, plan.decoder) for point in points}
    channels = {}
    for point in points:  # refuse a plan that cannot be run before anything is sent
        codecs[point.codec].layers_for_ratio(point.ratio)
        channels[point.key] = channel_of(plan, point)
    for name, codec in codecs.items():
        if alike := [other for other in codecs if other != name and codecs[other].name == codec.name]:
            raise RunError(
                f"codecs {name} and {alike[0]} are both named {codec.name!r}, their results could not be told apart: change the "
                f"name in {codec.folder}/manifest.json, or train with --set name=..."
            )
    scene = scene_id(tiles.images)
    codec_ids = {name: ids_of(codec) for name, codec in codecs.items()}
    task_ids = {task.name: task.id for task in tasks_of(plan)}
    ids = {"codec_ids": codec_ids} | ({"task_ids": task_ids} if task_ids else {})
    log.start(plan.to_dict() | ids | {"tiles": len(tiles), "scene": f"{scene:08x}"})
    save_originals(log, tiles, plan.pictures)
    done = {} if not log.frames.exists() else log.logged()
    todo = list(cutting.cut(plan, len(tiles), done))
    job = Job(plan, channels, codec_ids, scene, task_ids)
    whole = len(points) * len(tiles) * plan.repeat
    effort, started, began = Effort(), time.perf_counter(), now()
    crew: dict[str, int | str] = {}
    left = sum(part.tiles for part in todo)
    with tqdm(total=whole, initial=whole - left, unit="tile", unit_scale=True, disable=not progress) as bar:

        def count(part: Part, did: Effort) -> None:
            nonlocal effort
            effort += did
            bar.set_postfix_str(part.point.key, refresh=False)
            bar.update(part.tiles)

        try:
            if scheduler is not None:
                from djscc.campaign.cluster import run_on_cluster

                crew["scheduler"] = scheduler
                run_on_cluster(job, iter(todo), tiles, log, scheduler, count)
            else:
                crew["workers"] = _run_here(job, todo, log, workers, count)
        finally:
            seconds = time.perf_counter() - started
            if effort.tiles:
                log.add_session({"started": began, **crew, **speed_of(effort, seconds)})
    return log


def speed_of(effort: Effort, seconds: float) -> dict[str, float]:
    """How fast a campaign ran: tiles x points a second of the wall clock, and the share of the workers' time outside networks."""
    return {
        "tiles_x_points": effort.tiles,
        "seconds": round(seconds, 2),
        "tiles_x_points_per_s": round(effort.tiles / max(seconds, 1e-9), 1),
        "worker_seconds": round(effort.seconds, 2),
        "worker_cpu_seconds": round(effort.cpu_seconds, 2),  # less where workers had to wait for a core
        "share_outside_networks": round(1 - effort.network_seconds / max(effort.seconds, 1e-9), 4),
    }


def _run_here(
    job: Job, todo: list[Part], log: RunLog, workers: int | None, count: Callable[[Part, Effort], None]
) -> int:
    """Over processes of this machine; returns how many."""
    cores = len(os.sched_getaffinity(0))
    workers = max(1, min(workers or cores, len(todo)))
    # results at symbol level are to be the same for any number of workers, and threads round differently
    threads = 1 if job.plan.level == "symbols" else max(1, cores // workers)
    if workers > 1:
        _run_pool(job, todo, log, workers, threads, count)
        return workers
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for part in todo:
            count(part, _run(job, part, log.folder))
    finally:
        torch.set_num_threads(before)
    return workers


def _prepare_worker(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets the parts under way end


def _run_pool(
    job: Job, todo: list[Part], log: RunLog, workers: int, threads: int, count: Callable[[Part, Effort], None]
) -> None:
    """Over a pool of processes; one that dies takes the pool with it, and what was not done is begun again in a new one."""
    left = dict(enumerate(todo))
    deaths = 0
    while left:
        before = len(left)
        try:
            for number, effort in _results(job, left, log, workers, threads):
                count(left.pop(number), effort)
        except BrokenProcessPool as error:
            deaths = deaths + 1 if len(left) == before else 1
            if deaths >= ATTEMPTS:
                raise RunError(
                    f"{log.folder}: worker processes died again and again (out of memory, or killed); take fewer --workers and run "
                    "the same command again to go on"
                ) from error
            logged = log.logged()  # the dead process may have logged some of its part
            for number, part in list(left.items()):
                frames = tuple(f for f in part.frames if f not in logged[part.point.key])
                if not frames:
                    count(left.pop(number), Effort(part.tiles))
                elif job.plan.level == "symbols":
                    left[number] = Part(part.point, frames, part.tiles)


def _results(job: Job, todo: dict[int, Part], log: RunLog, workers: int, threads: int) -> Iterator[tuple[int, Effort]]:
    """The number and effort of each part as it ends. Only a few are handed out ahead."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(todo)), context, initializer=_prepare_worker, initargs=(threads,))
    waiting = iter(list(todo.items()))
    pending: dict[Future[Effort], int] = {}
    try:
        while True:
            for number, part in islice(waiting, 2 * workers - len(pending)):
                pending[pool.submit(_run, job, part, log.folder)] = number
            if not pending:
                return
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                yield pending.pop(future), future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
