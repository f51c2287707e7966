# SPDX-License-Identifier: GPL-3.0-or-later
"""Every flowgraph in flowgraphs/ compiles with grcc, and those without a GUI or a radio run to their end by themselves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from djscc.cli import main
from djscc.virtual_radio import AirSettings, RadioServer, RadioSettings
from djscc.virtual_radio.usrp import module_folder
from virtual_radio_support import address

ROOT = Path(__file__).parents[1]
MODULE = ROOT / "gr-djscc"
FLOWGRAPHS = sorted((ROOT / "flowgraphs").glob("*.grc"))

pytest.importorskip("gnuradio", reason="GNU Radio is not importable from this Python")
pytestmark = pytest.mark.skipif(shutil.which("grcc") is None, reason="grcc is not installed")


def run(command: list[str], folder: Path, limit_s: float, **environment: str) -> str:
    """Run a command in ``folder``; returns what it printed. Fails when it takes longer or does not exit with 0."""
    result = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        timeout=limit_s,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with the module as it is in the source tree, installed or not."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "gnuradio").mkdir()
    (folder / "gnuradio" / "djscc").symlink_to(MODULE / "python" / "djscc")
    return os.pathsep.join([str(folder), str(ROOT / "python_lib")])


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Python program of every flowgraph, compiled with the module's blocks."""
    folder = tmp_path_factory.mktemp("programs")
    run(["grcc", "-o", str(folder), *map(str, FLOWGRAPHS)], folder, 110, GRC_BLOCKS_PATH=str(MODULE / "grc"))
    return folder


@pytest.mark.parametrize("flowgraph", FLOWGRAPHS, ids=lambda path: path.stem)
def test_compiles(flowgraph: Path, programs: Path) -> None:
    program = programs / f"{flowgraph.stem}.py"
    compile(program.read_text(), str(program), "exec")


def frames_in(printed: str) -> list[str]:
    """The numbers of the frames that a decoder sink logged."""
    return [line.split()[3].rstrip(",") for line in printed.splitlines() if "Es/N0" in line]


@pytest.fixture
def run_program(programs: Path, module_path: str, tmp_path: Path) -> Callable[..., str]:
    """Runs a compiled flowgraph with command line options; returns what it printed."""

    def run_it(name: str, *options: str, **environment: str) -> str:
        command = [sys.executable, "-u", str(programs / f"{name}.py"), *options]
        return run(command, tmp_path, 100, PYTHONPATH=module_path, OMP_NUM_THREADS="1", **environment)

    return run_it


def test_the_simulated_loopback_runs_to_its_end(run_program: Callable[..., str]) -> None:
    printed = run_program("loopback_simulated_nogui")
    assert frames_in(printed) == ["0", "1", "2", "3"] and "PSNR" in printed, printed


def test_a_recording_is_replayed(run_program: Callable[..., str], tmp_path: Path) -> None:
    recording = str(tmp_path / "recording")
    assert main(["transmit", "landsat", "--limit", "8", "--tiles-per-frame", "4", "--sink", f"sigmf:{recording}"]) == 0
    printed = run_program("recording_replay_nogui", "--recording", f"{recording}.sigmf-data")
    assert frames_in(printed) == ["0", "1"], printed


def test_transmitter_and_receiver_in_two_processes(run_program: Callable[..., str], free_address: str) -> None:
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(run_program, "zmq_transmit_nogui", "--address", free_address)
        printed = run_program("zmq_receive_nogui", "--address", free_address)
        sent.result()
    assert frames_in(printed) == ["0", "1", "2", "3"], printed


@pytest.mark.parametrize(("kind", "gain"), [("pluto", "-10"), ("usrp", "79.75")])
def test_hardware_flowgraphs_run_on_virtual_radios(kind: str, gain: str, run_program: Callable[..., str]) -> None:
    if kind == "usrp" and module_folder() is None:
        pytest.skip("the UHD module was not built (libuhd-dev is missing) or not installed")
    host = address()
    device = f"ip:{host}" if kind == "pluto" else f"type=virtual,addr={host}"
    settings = AirSettings(radios=(RadioSettings(kind=kind, address=host, lo_ppm=5.0),), clock="stream")
    with RadioServer(settings.for_esn0(10.0, 5e5, -9.0, float(gain))):
        printed = run_program(
            f"{kind}_both_nogui",
            *("--frequency", "1e9", "--symbol-rate", "5e5", f"--transmit-gain={gain}", "--receive-gain", "40"),
            *("--transmit-device", device, "--receive-device", device),
            UHD_MODULE_PATH=str(module_folder() or ""),
        )
    assert frames_in(printed) == ["0", "1", "2", "3"], printed
    assert "SSIM" in printed


@pytest.mark.parametrize("name", [path.stem for path in FLOWGRAPHS if path.stem.startswith(("pluto", "usrp"))])
def test_hardware_flowgraphs_do_nothing_before_frequency_and_gain_are_given(
    name: str, programs: Path, module_path: str
) -> None:
    program = (programs / f"{name}.py").read_text()
    checked, made = program.index("        snippets_init_before_blocks(self)"), program.index("        # Blocks")
    assert made < checked < program.index("        self.", made)
    given = "djscc.require_given(frequency=self.frequency"
    for way in ("transmit", "receive"):
        assert (f"{way}_gain=self.{way}_gain" in program[program.index(given) :].split(")")[0]) == (
            f"self.{way}_gain = " in program
        )
    if name.endswith("transmit_nogui"):
        command = [sys.executable, str(programs / f"{name}.py"), "--frequency", "1e9"]
        result = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": module_path}, timeout=60, capture_output=True, text=True
        )
        assert result.returncode == 1
        assert "before --transmit-gain is given" in result.stderr


@pytest.fixture
def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def test_a_failed_block_makes_the_program_exit_with_1(module_path: str, tmp_path: Path) -> None:
    """As GRC generates it, which looks at no block's error."""
    program = tmp_path / "broken.py"
    program.write_text(
        "from gnuradio import blocks, djscc, gr\n"
        "tb = gr.top_block()\n"
        "source, modulator, sink = blocks.vector_source_c([1.0]), djscc.frame_modulator(), blocks.null_sink(8)\n"
        "tb.connect(source, modulator, sink)\n"
        "tb.start()\n"
        "tb.wait()\n"
        "print('at the end')\n"
    )
    environment = os.environ | {"PYTHONPATH": module_path}
    result = subprocess.run([sys.executable, str(program)], env=environment, timeout=60, capture_output=True, text=True)
    assert result.returncode == 1 and "at the end" in result.stdout, result.stderr


@pytest.mark.parametrize("flowgraph", FLOWGRAPHS, ids=lambda path: path.stem)
def test_holds_no_absolute_path_and_has_a_twin(flowgraph: Path) -> None:
    content = yaml.safe_load(flowgraph.read_text())
    for block in content["blocks"]:
        for name, value in block["parameters"].items():
            assert not str(value).strip("'\"").startswith("/"), f"{block['name']}.{name} is {value}"
    stem = flowgraph.stem.removesuffix("_nogui")
    assert flowgraph.with_name(f"{stem}.grc").is_file()
    assert flowgraph.with_name(f"{stem}_nogui.grc").is_file()


def test_every_block_is_documented_and_tested() -> None:
    blocks = sorted((MODULE / "grc").glob("*.block.yml"))
    assert blocks
    for path in blocks:
        block = yaml.safe_load(path.read_text())
        assert block["id"] == path.name.removesuffix(".block.yml")
        assert block["category"] == "[DJSCC]"
        text = block["documentation"]
        places = [text.index(f"\n{part}:\n") for part in ("Inputs", "Outputs", "Parameters")]
        assert places == sorted(places)
        for parameter in block["parameters"]:
            label = parameter["label"].split(" (")[0]
            assert label in text[places[2] :], f"{path.name}: {label} is not documented"
        name = block["id"].removeprefix("djscc_")
        assert (MODULE / "python" / "djscc" / f"qa_{name}.py").is_file()
