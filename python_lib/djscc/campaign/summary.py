# SPDX-License-Identifier: GPL-3.0-or-later
"""Sum up the records of frames: the result keys of the command line, and a table over the plane."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from djscc import tasks as task_results
from djscc.quality import ESTIMATES, METRICS, summarise


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def sum_up(records: Collection[dict[str, Any]]) -> dict[str, Any]:
    """Result keys of one run: means over images, counts of frames, and ``per_image`` values (None where it was lost).

    ``accuracy``, ``agreement`` and ``task_loss`` are those of the first task; ``tasks`` holds those of each.

    Means are over the tiles of frames that were received; a tile of which every symbol was erased counts as grey. So read
    them beside ``frames_received``.
    """
    received = [r for r in records if r["received"]]
    tiles = [tile for r in records for tile in r["tiles"]]
    measured = [t for t in tiles if t.get("psnr_db") is not None]
    result: dict[str, Any] = dict(summarise(measured))
    if of_tasks := task_results.summarise(tiles):
        result |= next(iter(of_tasks.values())) | {"tasks": of_tasks}
    for name in ESTIMATES:
        if (mean := _mean(t.get(name) for t in tiles)) is not None:
            result[name] = mean
    if "mse" in result:
        result["psnr_of_mean_mse_db"] = float(-10 * np.log10(max(result["mse"], 1e-10)))
    result |= {
        "images": len(measured),
        "images_sent": len(tiles),
        "ratio": _mean(r["ratio"] for r in records),
        "on_air_ratio": _mean(r["on_air_ratio"] for r in records),
        "frames_sent": len(records),
        "frames_received": len(received),
        "snr_est_db": _mean(r.get("snr_est_db") for r in received),
        "per_image": {
            key: [t.get(key) for t in tiles]
            for key in ("name", *METRICS, "tasks")
            if any(t.get(key) is not None for t in tiles)
        },
    }
    return result


def point_means(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each point of a campaign: what it was, frames sent and received, and the mean of every metric over its tiles."""
    points: dict[str, dict[str, Any]] = {}
    sums: dict[str, dict[str, list[float]]] = {}  # sum and count of each metric
    judged: dict[str, list[dict[str, Any]]] = {}  # the tiles that tasks have judged
    for record in records:
        key = str(record.get("point"))
        names = ("point", "codec", "codec_id", "channel", "ratio", "snr_db", "seed")
        point = points.setdefault(
            key, {n: record.get(n) for n in names} | {"images": 0, "frames_sent": 0, "frames_received": 0}
        )
        point["frames_sent"] += 1
        point["frames_received"] += bool(record["received"])
        of_point = sums.setdefault(key, {})
        judged.setdefault(key, []).extend({"tasks": tile["tasks"]} for tile in record["tiles"] if tile.get("tasks"))
        for tile in record["tiles"]:
            point["images"] += tile.get("psnr_db") is not None
            for metric in METRICS:
                if (value := tile.get(metric)) is not None:
                    entry = of_point.setdefault(metric, [0.0, 0])
                    entry[0] += value
                    entry[1] += 1
    return [
        point
        | {m: total / count for m, (total, count) in sums[key].items()}
        | ({"tasks": task_results.summarise(judged[key])} if judged[key] else {})
        for key, point in points.items()
    ]


def speed_text(session: Mapping[str, Any]) -> str:
    """One line on how fast a call of a campaign was."""
    did = f"{session['tiles_x_points']} tiles x points in {session['seconds']:.0f} s"
    text = f"{did}, {session['tiles_x_points_per_s']:.0f} a second"
    if (
        session["share_outside_networks"] == 1
    ):  # a flowgraph's networks run in threads of their own, which are not timed
        return text
    return f"{text}, {session['share_outside_networks']:.0%} of the workers' time outside the networks"


def table(records: Iterable[dict[str, Any]], metric: str = "psnr_db") -> str:
    """A text table of the mean of ``metric``: a row for each codec, channel and ratio, a column for each Es/N0.

    Over a satellite pass the columns are of 1 dB.
    """
    cells: dict[tuple[str, str, float], dict[float, list[float]]] = {}
    lost = 0
    for r in records:
        row = cells.setdefault((r["codec"], r.get("channel") or "-", round(r["ratio"], 5)), {})
        lost += not r["received"]
        if r.get("snr_db") is None:
            continue
        cell = row.setdefault(float(round(r["snr_db"])) if r.get("elevation_deg") is not None else r["snr_db"], [])
        cell += [t[metric] for t in r["tiles"] if t.get(metric) is not None]
    columns = sorted({snr for row in cells.values() for snr in row})
    lines = [f"{metric:<32}" + "".join(f"{snr:>8g}" for snr in columns) + "   Es/N0 in dB"]
    for (codec, channel, ratio), row in sorted(cells.items()):
        values = (f"{np.mean(row[s]):8.2f}" if row.get(s) else f"{'-':>8}" for s in columns)
        lines.append(f"{codec:<12.12} {channel:<12.12} 1/{1 / ratio:<4.3g}" + "".join(values))
    if lost:
        lines.append(f"{lost} frames were lost")
    return "\n".join(lines)
