# SPDX-License-Identifier: GPL-3.0-or-later
"""Every flowgraph in flowgraphs/ compiles with grcc, and those without a GUI run to their end by themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
MODULE = ROOT / "gr-djscc"
FLOWGRAPHS = sorted((ROOT / "flowgraphs").glob("*.grc"))
WITHOUT_GUI = [path for path in FLOWGRAPHS if path.stem.endswith("_nogui")]

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


def compiled(flowgraph: Path, folder: Path) -> Path:
    """Compile a flowgraph with the module's blocks; returns the Python file."""
    printed = run(["grcc", "-o", str(folder), str(flowgraph)], folder, 60, GRC_BLOCKS_PATH=str(MODULE / "grc"))
    program = folder / f"{flowgraph.stem}.py"
    assert program.is_file(), printed
    compile(program.read_text(), str(program), "exec")
    return program


@pytest.mark.parametrize("flowgraph", FLOWGRAPHS, ids=lambda path: path.stem)
def test_compiles(flowgraph: Path, tmp_path: Path) -> None:
    compiled(flowgraph, tmp_path)


@pytest.mark.parametrize("flowgraph", WITHOUT_GUI, ids=lambda path: path.stem)
def test_runs_to_its_end(flowgraph: Path, tmp_path: Path, module_path: str) -> None:
    program = compiled(flowgraph, tmp_path)
    printed = run([sys.executable, "-u", str(program)], tmp_path, 100, PYTHONPATH=module_path, OMP_NUM_THREADS="1")
    assert [line.split()[3] for line in printed.splitlines() if "PSNR" in line] == ["0,", "1,", "2,", "3,"], printed


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
