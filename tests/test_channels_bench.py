# SPDX-License-Identifier: GPL-3.0-or-later
"""The channels' benchmark runs, with and without GNU Radio, and holds the speed that the project promises (loosely)."""

import json

from djscc.channels import bench


def test_benchmark_writes_its_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    bench.main(["--samples", "100000", "--json", str(tmp_path / "deep" / "channels.json")])
    result = json.loads((tmp_path / "deep" / "channels.json").read_text())
    rows = {row["channel"]: row for row in result["channels"]}
    assert {*bench.PARTS, "bench-pluto"} <= set(rows)
    assert rows["bench-pluto"]["msps"] > 0.5  # 4 on a quiet core; the promise is 2
    if result["gnuradio"]:
        assert rows["rician fading"]["times_as_fast"] > 1
    assert "bench-pluto" in capsys.readouterr().out
