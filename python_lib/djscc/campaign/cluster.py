# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the parts of a campaign on a Dask cluster.

Workers need djscc of the same version and the same codecs, and nothing else of this machine: the tiles go to them over the
cluster, what they find comes back, and the log is written here. The scheduler hands the parts of a worker that died to
another one, and each part's result comes back once. Dask moves Python objects between machines, so a scheduler is to be as
trusted as the machine itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from djscc.campaign.collected import Collected
from djscc.campaign.parts import Effort, Part
from djscc.campaign.runlog import RunError, RunLog
from djscc.errors import DjsccError
from djscc.imagery import TileSet

if TYPE_CHECKING:
    from djscc.campaign.runner import Job

CONNECT_S = 5.0
WORKERS_S = 60.0  # how long to wait for a first worker, and for another when all are gone
AHEAD = 3  # parts handed out for each thread of the cluster


def _hold(shared: tuple[Job, TileSet]) -> tuple[Job, TileSet]:
    """A result that lies on the workers; lost with them, it is made again from what the scheduler holds."""
    return shared


def _work(shared: tuple[Job, TileSet], part: Part) -> tuple[Collected, Effort]:
    import torch

    from djscc.campaign.runner import run_part

    job, tiles = shared
    torch.set_num_threads(1)  # the cluster's threads are the parallel ones, and one thread rounds the same everywhere
    collected = Collected()
    try:
        return collected, run_part(job, part, tiles, collected)
    except DjsccError as error:
        raise RunError(f"worker on {socket.gethostname()}: {error}") from error


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise RunError(f"--scheduler needs Dask ({error}); pip install 'djscc[cluster]'") from error
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False, name="djscc-campaign")
    except (OSError, ValueError, TypeError) as error:
        raise RunError(
            f"--scheduler {address}: no Dask scheduler answers there ({error}); give the address that `dask scheduler` printed, "
            "such as tcp://host:8786"
        ) from error
    try:
        client.wait_for_workers(1, timeout=WORKERS_S)
    except OSError as error:
        client.close()
        raise RunError(
            f"--scheduler {address}: the cluster has no workers; start some with `dask worker {address}`"
        ) from error
    return client


def run_on_cluster(
    job: Job, parts: Iterator[Part], tiles: TileSet, log: RunLog, address: str, count: Callable[[Part, Effort], None]
) -> None:
    """Do all parts; each result is written to ``log`` when it comes, then ``count`` is called.

    Raises RunError when there is no scheduler or worker, or a part fails; what came by then is in the log.
    """
    client = _client(address)
    import dask
    from distributed import wait

    pending: dict[Any, Part] = {}
    try:
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "16GiB"}):
            shared = client.submit(_hold, (job, tiles), pure=False)
        while True:
            room = AHEAD * max(1, sum(client.nthreads().values()))
            for part in islice(parts, max(0, room - len(pending))):
                pending[client.submit(_work, shared, part, pure=False)] = part
            if not pending:
                return
            try:
                with client.as_current():
                    finished = wait(list(pending), timeout=WORKERS_S, return_when="FIRST_COMPLETED").done
            except TimeoutError as error:
                if client.nthreads():
                    continue  # long parts
                raise RunError(f"--scheduler {address}: all workers are gone; start some and run it again") from error
            # those that failed come last: the first of them ends it, and what came is in the log by then
            for future in sorted(finished, key=lambda future: bool(future.status != "finished")):
                part = pending.pop(future)
                collected, effort = future.result()
                collected.write(log)
                count(part, effort)
    except DjsccError:
        raise
    except Exception as error:  # Dask raises many kinds, and whatever a worker raised
        raise RunError(
            f"--scheduler {address}: {type(error).__name__}: {error}; what came is kept, run the same command again to go on"
        ) from error
    finally:
        client.cancel(list(pending))
        client.close()
