# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: results with the keys that scripts rely on, clear errors, exit codes, nothing logged lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from djscc import DATA
from djscc.campaign import RunLog
from djscc.cli import main, parser
from djscc.imagery import load_image, paste
from PIL import Image

KEYS = {
    "psnr_db", "ssim", "ms_ssim", "lpips", "images", "symbols_per_image", "on_air_ratio", "frames_sent", "frames_received",
    "snr_est_db", "per_image",
}  # fmt: skip
EVALUATE = ["evaluate", "--limit", "4", "--decoder", "lite", "--ratio", "1/12"]


@pytest.fixture(scope="module")
def picture(tmp_path_factory, landsat):
    """The Landsat sample as one picture whose edges fall within tiles."""
    path = tmp_path_factory.mktemp("picture") / "scene.png"
    Image.fromarray(paste(landsat.images, 512, 512)[:150, :200]).save(path)
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory, picture):
    path = tmp_path_factory.mktemp("recording") / "scene.cf32"
    assert main(["transmit", str(picture), "--sink", f"file:{path}", "--tiles-per-frame", "4"]) == 0
    return path


def code(*argv):
    """Exit code, as a shell would see it."""
    try:
        return main([str(a) for a in argv])
    except SystemExit as stop:
        return stop.code


def test_evaluate_gives_the_result_keys(tmp_path):
    file = tmp_path / "r.json"
    assert code(*EVALUATE, "--snr", "10", "--json", file) == 0
    result = json.loads(file.read_text())
    assert result.keys() >= KEYS
    assert result["images"] == 4 and result["symbols_per_image"] == 1024 and len(result["per_image"]["psnr_db"]) == 4


def test_the_same_seed_gives_the_same_result(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert code(*EVALUATE, "--snr", "0", "--seed", seed, "--json", tmp_path / name) == 0
    a, b, c = (json.loads((tmp_path / n).read_text())["per_image"]["psnr_db"] for n in "abc")
    assert a == b and a != c


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        ([*EVALUATE, "--snr", "abc"], 2, "'abc' is no number"),
        ([*EVALUATE, "--snr", "nan"], 2, "'nan' is not finite"),
        ([*EVALUATE, "--snr", "0", "--seed", "-1"], 2, "'-1' is no whole number"),
        (["link-budget", "leo-600km-x-band", "--step", "0"], 1, "--step 0"),
        (["link-budget", "leo-600km-x-band", "--symbol-rate", "0"], 1, "--symbol-rate 0"),
        (["loopback", "--ratio", "1/12", "--snr", "0", "--run", "/proc/djscc"], 1, "/proc/djscc"),
        (["evaluate", "--ratio", "7", "--snr", "0"], 2, "ratio '7'"),
        (["evaluate", "--snr", "0"], 2, "--ratio"),
        (["evaluate", "--ratio", "1/2", "--snr", "0"], 1, "ratio 0.5: codec adaptive offers"),
        (["evaluate", "--ratio", "1/12", "--snr", "0", "--data", "/nowhere"], 1, "/nowhere: no such folder"),
        ([*EVALUATE, "--snr", "0", "--codec", "nothing"], 1, "codec 'nothing' is not here"),
        ([*EVALUATE, "--snr", "0", "--channel", "vacuum"], 1, "vacuum"),
        (
            ["campaign", "/nowhere.yaml", "--run", "/tmp/never"],
            1,
            "/nowhere.yaml: no such file, and none of that name is shipped",
        ),
        (["fit", "/nowhere"], 1, "no run there"),
        (["report", "/nowhere", "--out", "/tmp/never"], 1, "no run there"),
        (["transmit", "/nowhere.png", "--sink", "file:/tmp/never"], 1, "/nowhere.png: cannot be read"),
        (["transmit", "x.png", "--sink", "carrier-pigeon"], 1, "--sink 'carrier-pigeon' is unknown"),
        (["receive", "--source", "file:/nowhere", "--run", "/tmp/djscc-never"], 1, "/nowhere: cannot be read"),
        ([*EVALUATE, "--snr", "0", "--channel", "leo-600km-x-band"], 1, "fly it with `djscc loopback"),
        ([*EVALUATE, "--snr", "0", "--channel", "BINARY.yaml"], 1, "BINARY.yaml is not valid YAML"),
        (["virtual-usrp", "--air", "BINARY.yaml"], 1, "BINARY.yaml is not valid YAML"),
        (["virtual-pluto", "--symbol-rate", "0"], 1, "--symbol-rate 0"),
        (["virtual-pluto", "--radios", "300"], 1, "1 to 254 radios"),
        (["monitor", "--port", "70000"], 1, "port 70000"),
        (["link-budget", "leo-600km-x-band", "--json", "."], 1, "--json .: names no file"),
        (["nonsense"], 2, "invalid choice"),
    ],
)
def test_wrong_use_is_said_clearly(capsys, tmp_path, monkeypatch, arguments, exit_code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "BINARY.yaml").write_bytes(b"name: \xff\xfe")
    assert code(*arguments) == exit_code
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["virtual-pluto", "--radios", "2", "--lo-ppm", "-5,5"], "lo_ppm", [-5, 5]),
        (["loopback", "--ratio", "1/12", "--cfo", "-1.25e4"], "cfo", -12500),
        (["transmit", "x.png", "--sink", "file:x", "--gain", "-2e1"], "gain", -20),
        (["calibrate", "--receive-gain-limits", "-1", "7e1"], "receive_gain_limits", [-1, 70]),
    ],
)
def test_negative_values_may_be_lists_and_have_exponents(arguments, name, value):
    assert getattr(parser().parse_args(arguments), name) == value


def test_output_that_is_read_no_further_ends_without_a_traceback():
    command = "set -o pipefail; djscc link-budget leo-600km-x-band --step 0.1 | head -1"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, env=os.environ | {"PATH": path}
    )
    assert done.returncode == 1 and done.stdout.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr


def test_an_image_that_does_not_decode_is_named(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert code("evaluate", "--data", tmp_path, "--ratio", "1/12", "--snr", "0") == 1
    assert "a.png: not an image that can be decoded" in capsys.readouterr().err


def test_every_command_has_help_with_an_example():
    commands = next(a for a in parser()._actions if a.dest == "command").choices
    assert set(commands) >= {
        "evaluate",
        "loopback",
        "transmit",
        "receive",
        "campaign",
        "fit",
        "report",
        "plan",
        "train",
        "doctor",
    }
    for name, command in commands.items():
        assert f"djscc {name}" in command.format_help().split("example:")[1]


def test_a_picture_goes_through_a_file_and_comes_out_whole(picture, recording, tmp_path):
    assert (
        code("receive", "--source", f"file:{recording}", "--run", tmp_path / "run", "--json", tmp_path / "r.json") == 0
    )
    received = list((tmp_path / "run" / "received").glob("*.png"))
    assert len(received) == 1
    sent, got = load_image(picture).astype(float), load_image(received[0]).astype(float)
    assert got.shape == sent.shape
    assert 10 * np.log10(255**2 / ((sent - got) ** 2).mean()) > 24
    report = json.loads((tmp_path / "r.json").read_text())
    assert (
        report["frames_received"] == 3 and report["tiles_received"] == 12 and report["pictures"] == [str(received[0])]
    )


def test_a_folder_that_holds_a_run_is_not_added_to(recording, tmp_path, capsys):
    assert code("receive", "--source", f"file:{recording}", "--run", tmp_path / "run") == 0
    before = (tmp_path / "run" / "frames.jsonl").read_bytes()
    assert code("receive", "--source", f"file:{recording}", "--run", tmp_path / "run") == 1
    assert "holds a run already" in capsys.readouterr().err
    assert (tmp_path / "run" / "frames.jsonl").read_bytes() == before


def test_a_truncated_recording_gives_what_it_holds_and_is_said(recording, tmp_path, capsys):
    data = recording.read_bytes()
    part = tmp_path / "part.cf32"
    part.write_bytes(data[: int(len(data) * 0.6) // 8 * 8 + 3])
    assert code("receive", "--source", f"file:{part}", "--run", tmp_path / "run") == 1
    assert "truncated recording" in capsys.readouterr().err
    assert len(list(RunLog(tmp_path / "run").records())) >= 1


@pytest.mark.parametrize("share", [0.12, 0.2, 0.4])
def test_a_recording_that_ends_inside_a_frame_says_what_lacks(recording, tmp_path, capsys, share):
    data = recording.read_bytes()
    part = tmp_path / "part.cf32"
    part.write_bytes(data[: int(len(data) * share) // 8 * 8])
    assert code("receive", "--source", f"file:{part}", "--run", tmp_path / "run") == 1
    assert "it ends inside frame" in capsys.readouterr().err
    assert list(RunLog(tmp_path / "run").records())[-1]["erased"] > 0.2


def test_noise_is_no_frame(tmp_path, capsys):
    file = tmp_path / "noise.cf32"
    np.random.default_rng(1).normal(size=200_000).astype("<f4").tofile(file)
    assert code("receive", "--source", f"file:{file}", "--run", tmp_path / "run") == 1
    assert "no frame found" in capsys.readouterr().err


def test_an_unknown_codec_id_is_said_and_what_came_is_logged(recording, tmp_path, capsys, monkeypatch):
    import djscc.codec.weights as weights

    monkeypatch.setattr(weights, "_folders", lambda: [tmp_path / "none"])
    assert code("receive", "--source", f"file:{recording}", "--run", tmp_path / "run") == 1
    assert "is not here" in capsys.readouterr().err
    assert all("refused" in record for record in RunLog(tmp_path / "run").records())


def test_doctor_names_what_is_there(capsys):
    code("doctor")
    lines = capsys.readouterr().out.splitlines()
    for name in ("torch", "codecs", "numpy", "scipy", "PyYAML", "Pillow"):
        assert next(line for line in lines if line.split()[1] == name).startswith("ok")


@pytest.mark.parametrize("missing", ["numpy", "yaml"])
def test_doctor_tells_of_what_other_commands_cannot_start_without(missing):
    program = "import sys; sys.modules[sys.argv.pop(1)] = None; from djscc.cli import main; sys.exit(main())"
    for command, said in (("doctor", "MISSING"), ("evaluate", "`djscc doctor` tells what is missing")):
        done = subprocess.run(
            [sys.executable, "-c", program, missing, command], capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 1 and said in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_shipped_plans_load():
    from djscc.campaign import Plan
    from djscc.channels import load_channel
    from djscc.codec import load_codec

    for path in (DATA / "plans").glob("*.yaml"):
        plan = Plan.load(path)
        for name in plan.channels:
            load_channel(name).replace(**plan.impairments)
        for name in plan.codecs:
            for ratio in plan.ratios:
                load_codec(name).layers_for_ratio(ratio)
