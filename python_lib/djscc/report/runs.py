# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report needs of run folders: settings, frame records, tile records, and where the pictures lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from djscc.campaign.runlog import RunLog
from djscc.errors import DjsccError


class ReportError(DjsccError):
    """Run folders that no report can be made of; the message names them and says why."""


@dataclass(frozen=True)
class Run:
    """One run folder as data. ``records`` are frames, ``tiles`` flat per-tile records (the frame's fields and the tile's)."""

    folder: Path
    settings: dict[str, Any]
    records: list[dict[str, Any]]
    tiles: list[dict[str, Any]]

    def sent_picture(self, index: int) -> Path:
        return self.folder / "sent" / f"{index:05d}.png"

    def received_picture(self, tile: Mapping[str, Any]) -> Path:
        folder, index = tile.get("point") or f"scene-{tile.get('scene_id')}", int(tile["index"])
        return self.folder / "received" / str(folder) / f"{index:05d}.png"


def load_runs(folders: Iterable[str | Path]) -> list[Run]:
    """Read run folders; raises RunError for one that is not there, ReportError for one without frames."""
    runs = []
    for folder in map(Path, folders):
        log = RunLog(folder, must_exist=True)
        run = Run(folder, dict(log.settings()), list(log.records()), list(log.tiles()))
        if not run.records:
            raise ReportError(f"{folder}: its log holds no frames yet; run djscc campaign or djscc loopback first")
        runs.append(run)
    if not runs:
        raise ReportError("no run folder was given")
    return runs


def ratio_text(ratio: float) -> str:
    """A ratio as people write it: 0.08333 is 1/12; three digits where no simple fraction is within 1 %."""
    for fraction in (Fraction(1, max(1, round(1 / ratio))), Fraction(ratio).limit_denominator(64)):
        if abs(float(fraction) / ratio - 1) < 0.01:
            return str(fraction)
    return f"{ratio:.3g}"


def snr_text(snr_db: float) -> str:
    return f"{snr_db:g} dB".replace("-", "\N{MINUS SIGN}")


def number_text(value: float) -> str:
    """A number with four digits."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def percent_text(share: float) -> str:
    """A share in per cent; a dash where it is not known."""
    return "-" if math.isnan(share) else f"{100 * share:.2f} %"


def count_text(count: int, noun: str) -> str:
    """A count with its noun: 1 frame, 15 frames, 2,700 tiles."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
