# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's file: written section by section, taken up where it stopped."""

import json
from pathlib import Path

import pytest
from djscc.waveform import bench


def test_sections_are_added_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def measured(scale: float) -> dict[str, float]:
        """A figure."""
        runs.append(scale)
        return {"figure": scale}

    monkeypatch.setattr(bench, "SECTIONS", {"first": measured, "second": measured})
    out = tmp_path / "results" / "waveform.json"
    assert bench.main(["first", "--scale", "0.5", "--out", str(out)]) == 0
    assert bench.main(["--resume", "--out", str(out)]) == 0
    assert runs == [0.5, 1.0]
    sections = json.loads(out.read_text())["sections"]
    assert sections["first"]["figure"] == 0.5
    assert sections["second"]["what"] == "A figure."
    assert bench.main(["first", "--out", str(out)]) == 0
    assert runs == [0.5, 1.0, 1.0]


def test_unknown_section_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        bench.main(["nothing", "--out", str(tmp_path / "w.json")])
    assert error.value.code == 2


def test_overhead_is_within_what_is_asked() -> None:
    shares = bench.overhead(1.0)["share_by_tiles_in_the_frame"]
    assert shares["64"] <= 0.06
    assert shares["1"] > shares["4"] > shares["16"] > shares["64"] > shares["1024"]
