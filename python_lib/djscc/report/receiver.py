# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's page of the receiver: what it found, what it lost, how well it estimated, and what went on the air."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from djscc.report import figures as draw
from djscc.report import page
from djscc.report.figures import Gallery
from djscc.report.runs import Run, arrived_text, count_text, ratio_text, snr_text
from djscc.semantic_loss import Series
from djscc.semantic_loss.cells import series_of

ESTIMATES = (("cfo_hz", "carrier frequency offset (Hz)"), ("clock_ppm", "sample-clock offset (ppm)"))


def receiver_section(runs: Sequence[Run], series: Series, gallery: Gallery) -> str:
    """Frames sent and received, on-air ratio, and the receiver's estimates against what is known of the channel."""
    chosen = [(run, record) for run in runs for record in run.records if series_of(record) == series]
    frames = [record for _, record in chosen]
    received = [record for record in frames if record.get("received")]
    refused = [record for record in received if record.get("refused")]
    of_series = [run for run in runs if any(run is other for other, _ in chosen)]
    lines = [arrived_text(of_series, len(received), len(frames))]
    if refused:
        lines.append(f"{count_text(len(refused), 'frame')} could not be decoded: {refused[0]['refused']}.")
    erased = [float(record["erased"]) for record in received if record.get("erased") is not None]
    if erased:
        lines.append(f"Of the symbols of received frames {100 * float(np.mean(erased)):.3g} % were erased.")
    lost = sum(abs(int(record.get("lost_samples") or 0)) for record in received)
    if lost:
        lines.append(f"The radio lost or doubled {count_text(lost, 'sample')} (overruns).")
    known = all(run.knows_what_was_sent for run in of_series)
    parts = ["<h3>Receiver</h3>", page.paragraph(" ".join(lines)), _frames_table(frames, known)]
    levels = {run.setting("level") for run in of_series}
    if levels == {"symbols"}:
        parts.append(
            page.paragraph(
                "This run was at symbol level: no waveform, no synchronisation, the true SNR was known to it.", "note"
            )
        )
        return "".join(parts)
    parts.append(_estimates(chosen, series, gallery))
    return "".join(parts)


def _frames_table(frames: Sequence[Mapping[str, Any]], sent_is_known: bool) -> str:
    """Received of sent frames over the plane, with the ratio on the air; received alone where what was sent is not known."""
    over_pass = any(frame.get("elevation_deg") is not None for frame in frames)  # each frame has its own SNR
    known = not over_pass and all(frame.get("snr_db") is not None for frame in frames)
    snrs = sorted({frame["snr_db"] for frame in frames}) if known else []
    rows = []
    for ratio in sorted({round(frame["ratio"], 5) for frame in frames}, reverse=True):
        of_ratio = [frame for frame in frames if round(frame["ratio"], 5) == ratio]
        on_air = [frame["on_air_ratio"] for frame in of_ratio if frame.get("on_air_ratio")]
        row = [ratio_text(ratio), "-", "-"]
        if on_air:
            row[1:] = [f"{np.mean(on_air):.4f}", f"{100 * (np.mean(on_air) / ratio - 1):.0f} %"]
        for chosen in [[f for f in of_ratio if f["snr_db"] == snr] for snr in snrs] or [of_ratio]:
            of = f" / {len(chosen)}" if sent_is_known else ""
            row.append(f"{sum(bool(f.get('received')) for f in chosen)}{of}" if chosen else "-")
        rows.append(row)
    head = ["ratio k/n", "on-air ratio", "overhead", *(map(snr_text, snrs) if snrs else ["all"])]
    note = (
        f"Frames received{' / sent' if sent_is_known else ''} at each Es/N0. The on-air ratio counts every symbol sent per source "
        "sample: payload, preamble, header and pilots; overhead is what these add to the payload."
    )
    return page.table(head, rows) + page.paragraph(note, "note")


def _finite(record: Mapping[str, Any], *keys: str) -> bool:
    return all(isinstance(record.get(key), int | float) and math.isfinite(record[key]) for key in keys)


def _estimates(chosen: Sequence[tuple[Run, Mapping[str, Any]]], series: Series, gallery: Gallery) -> str:
    received = [(run, record) for run, record in chosen if record.get("received")]
    frames = [record for _, record in received if _finite(record, "snr_est_db")]
    rows, drawings = [], []
    with_truth = [record for record in frames if _finite(record, "snr_db")]
    if with_truth:
        error = np.array([record["snr_est_db"] - record["snr_db"] for record in with_truth])
        rows.append(
            ["Es/N0, estimated - true (dB)", "0", f"{error.mean():+.2f}", f"{error.std():.2f}", str(len(error))]
        )
        drawing = gallery.save(draw.estimated_snr(with_truth), "snr_estimate", series.codec, series.channel)
        drawings.append(
            page.figure(drawing, "The receiver's SNR estimate against the channel's mean SNR, a point for each frame.")
        )
    for key, label in ESTIMATES:
        values = [record for record in frames if _finite(record, key)]
        if not values:
            continue
        told = {
            impairments.get(key) for run, _ in received if isinstance(impairments := run.setting("impairments"), dict)
        }
        setting = told.pop() if len(told) == 1 else None
        numbers = np.array([record[key] for record in values])
        rows.append(
            [
                label,
                "-" if setting is None else f"{setting:g}",
                f"{numbers.mean():.6g}",
                f"{numbers.std():.3g}",
                str(len(numbers)),
            ]
        )
        drawing = gallery.save(draw.over_snr(values, key, f"estimated {label}"), key, series.codec, series.channel)
        drawings.append(page.figure(drawing, f"Estimated {label}, a point for each frame."))
    if not rows:
        return page.paragraph("The log holds no receiver estimates.", "note")
    head = ["estimate", "channel's setting", "mean", "standard deviation", "frames"]
    return page.table(head, rows) + page.figures(drawings)
