# SPDX-License-Identifier: GPL-3.0-or-later
"""Campaigns over a real local Dask cluster: the same results as one process gives, also when a worker is killed at work."""

import os
import signal
import socket
import threading
import time

import pytest
from djscc.campaign import Plan, RunError, RunLog
from djscc.campaign import cluster as over_dask
from djscc.campaign.runner import run_campaign

distributed = pytest.importorskip("distributed")

PLAN = Plan(
    name="cluster", ratios=(1 / 48, 1 / 12), snr_db=(0.0, 10.0), limit=32, level="symbols", tiles_per_frame=2, pictures=2,
    decoder="lite", repeat=2, metrics=("psnr_db", "ssim"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_parts(monkeypatch, whole):
    monkeypatch.setattr("djscc.campaign.parts.PART_TILES", 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The plan's results from one process, in parts as large as they come."""
    return run_campaign(PLAN, tmp_path_factory.mktemp("whole"), workers=1, progress=False)


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None, silence_logs=50
    ) as running:
        yield running


def values(log):
    return {(t["point"], t["frame_number"], t["index"]): (t["psnr_db"], t["ssim"]) for t in log.tiles()}


@pytest.mark.timeout(300)
def test_a_worker_killed_at_work_loses_nothing_and_nothing_counts_twice(cluster, whole, tmp_path):
    client = distributed.Client(cluster, set_as_default=False)
    pids = client.run(os.getpid)
    log, errors = RunLog(tmp_path / "run"), []

    def run():
        try:
            run_campaign(PLAN, log.folder, progress=False, scheduler=cluster.scheduler_address)
        except Exception as error:
            errors.append(error)

    campaign = threading.Thread(target=run)
    campaign.start()
    while campaign.is_alive() and not (log.frames.exists() and log.frames.stat().st_size):
        time.sleep(0.02)
    busy = {address: tasks for address, tasks in client.processing().items() if any("_work" in str(t) for t in tasks)}
    assert busy and campaign.is_alive(), "the campaign ended before a worker could be killed"
    victim = max(busy, key=lambda address: len(busy[address]))
    os.kill(pids[victim], signal.SIGKILL)
    campaign.join(200)
    client.close()
    assert not campaign.is_alive() and not errors, errors
    assert pids[victim] not in client_pids(cluster)
    lines = log.frames.read_text().splitlines()
    assert len(lines) == len(list(log.records())) == 4 * 2 * 16  # every frame once, also before doubles are left out
    assert values(log) == values(whole)
    session = log.sessions()[-1]
    assert session["tiles_x_points"] == 4 * 2 * 32 and 0 < session["share_outside_networks"] < 1
    assert len(list((log.folder / "received").glob("*/*.png"))) == len(
        list((whole.folder / "received").glob("*/*.png"))
    )


def client_pids(cluster):
    with distributed.Client(cluster, set_as_default=False) as client:
        return set(client.run(os.getpid).values())


def test_a_cluster_goes_on_where_processes_stopped(cluster, whole, tmp_path):
    """Half of the log is there, one line of it torn: only what lacks is run."""
    log = run_campaign(PLAN, tmp_path, workers=1, progress=False)
    lines = log.frames.read_bytes().splitlines(keepends=True)
    log.frames.write_bytes(b"".join(lines[:40]) + lines[40][:50])
    run_campaign(PLAN, tmp_path, progress=False, scheduler=cluster.scheduler_address)
    assert log.sessions()[-1]["tiles_x_points"] == 4 * 2 * 32 - 40 * 2
    assert values(log) == values(whole)


def test_what_a_worker_lacks_is_said(cluster, tmp_path, monkeypatch):
    from djscc.campaign import runner

    real = runner.Job
    monkeypatch.setattr(runner, "Job", lambda *arguments: real(*arguments, version="99.0"))
    with pytest.raises(RunError, match=r"worker on .*99\.0 where the campaign was begun"):
        run_campaign(PLAN, tmp_path, progress=False, scheduler=cluster.scheduler_address)


def test_a_wrong_address_is_said_quickly(tmp_path, monkeypatch):
    monkeypatch.setattr(over_dask, "CONNECT_S", 1.0)
    with socket.socket() as nobody:  # bound and not listening
        nobody.bind(("127.0.0.1", 0))
        for address in (f"tcp://127.0.0.1:{nobody.getsockname()[1]}", "nonsense://there:1", "tcp://"):
            started = time.monotonic()
            with pytest.raises(RunError, match="no Dask scheduler answers there"):
                run_campaign(PLAN, tmp_path, progress=False, scheduler=address)
            assert time.monotonic() - started < 20
