# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole chain as a running GNU Radio flowgraph, from the command line: images in, images, log, fit and report out."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from djscc.campaign import RunLog
from djscc.cli import main
from djscc.report import ReportError, write_figure

pytest.importorskip("gnuradio.djscc")

POINT = ["--decoder", "lite", "--ratio", "1/24", "--limit", "16"]
PLAN = """
name: small
level: flowgraph
decoder: lite
channels: [rician-k10]
ratios: [1/48, 1/24, 1/12]
snr_db: [-5, 0, 5, 10, 15]
limit: 16
impairments: {cfo_hz: 12500, clock_ppm: 8, delay_samples: 0.37}
pictures: 2
"""


def result(tmp_path, *arguments):
    file = tmp_path / "result.json"
    assert main([*map(str, arguments), "--json", str(file)]) == 0
    return json.loads(file.read_text())


@pytest.mark.parametrize("snr_db", [-5, 0, 10])
def test_the_chain_costs_little_against_an_ideal_receiver(tmp_path, snr_db):
    """Within 0.25 dB of PSNR of the symbol-level channel, with all of the impairments. 16 tiles: the noise of both draws
    moves their difference by 0.04 dB (one sigma), so that a good receiver fails once in a million."""
    ideal = result(tmp_path, "evaluate", *POINT, "--snr", snr_db)
    real = result(
        tmp_path,
        "loopback",
        *POINT,
        "--snr",
        snr_db,
        "--cfo",
        40e3,
        "--ppm",
        -20,
        "--delay",
        0.61,
        "--tiles-per-frame",
        8,
    )
    assert real["frames_received"] == real["frames_sent"] == 2
    assert real["psnr_db"] > ideal["psnr_db"] - 0.25
    assert real["snr_est_db"] == pytest.approx(snr_db, abs=1.0)


def test_nothing_arrives_far_below_the_noise_and_that_is_said(tmp_path, capsys):
    file = tmp_path / "r.json"
    assert main(["loopback", *POINT, "--snr", "-40", "--json", str(file)]) == 1
    assert "no frame of 1 was received" in capsys.readouterr().out
    assert json.loads(file.read_text())["frames_received"] == 0


def campaign(tmp_path, run, **options):
    (tmp_path / "plan.yaml").write_text(PLAN)
    command = [sys.executable, "-m", "djscc.cli", "campaign", str(tmp_path / "plan.yaml"), "--run", str(run)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options)


def frames(run):
    return list(RunLog(run).records()) if (run / "frames.jsonl").exists() else []


@pytest.mark.timeout(300)
def test_a_killed_campaign_goes_on_and_ends_in_fit_and_report(tmp_path):
    run = tmp_path / "run"
    killed = campaign(tmp_path, run)
    deadline = time.monotonic() + 120
    while len(frames(run)) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = (run / "frames.jsonl").read_bytes()
    assert 3 <= len(frames(run)) < 15
    again = campaign(tmp_path, run)
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors.decode()
    assert (run / "frames.jsonl").read_bytes().startswith(before)
    records = frames(run)
    assert len(records) == 15 and all(r["received"] for r in records)
    assert len(RunLog(run).tiles()) == 15 * 16
    assert main(["fit", str(run), "--metric", "ssim", "--json", str(tmp_path / "model.json")]) == 0
    assert main(["report", str(run), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "1/48" in page


def test_a_satellite_pass_is_received_and_drawn(tmp_path):
    """The rise of a pass at 120 times its speed, its Doppler pre-compensated with an ephemeris 1 s late."""
    got = result(
        tmp_path, "loopback", "--channel", "leo-600km-x-band", "--decoder", "lite", "--ratio", "1/24", "--limit", "4",
        "--tiles-per-frame", "4", "--repeat", "12", "--time-scale", "120", "--run", tmp_path / "run",
    )  # fmt: skip
    assert got["frames_received"] == got["frames_sent"] == 12
    records = frames(tmp_path / "run")
    elevations = [r["elevation_deg"] for r in records]
    assert 4.9 < elevations[0] < elevations[-1] and elevations == sorted(elevations)
    assert all(abs(r["snr_est_db"] - r["snr_db"]) < 2 for r in records)
    write_figure("pass", [tmp_path / "run"], tmp_path / "pass.png")
    assert (tmp_path / "pass.png").stat().st_size > 10_000


def test_a_channel_without_a_link_budget_needs_an_snr(capsys):
    assert main(["loopback", *POINT]) == 1
    assert "channel awgn has no link budget" in capsys.readouterr().err


def test_a_scene_is_drawn_as_sent_and_received(tmp_path):
    assert main(["loopback", *POINT, "--snr", "10", "--run", str(tmp_path / "run")]) == 0
    arguments = ["report", str(tmp_path / "run"), "--figure", "scene", "--out", str(tmp_path / "scene.png")]
    assert main([*arguments, "--points", "1/24:10"]) == 0
    assert (tmp_path / "scene.png").stat().st_size > 10_000
    with pytest.raises(ReportError, match="nothing was received at ratio 1/4 and 10 dB"):
        write_figure("scene", [tmp_path / "run"], tmp_path / "none.png", ["1/4:10"])
