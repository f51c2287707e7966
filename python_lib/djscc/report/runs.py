# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report needs of run folders: settings, frame records, tile records, and where the pictures lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from djscc.campaign.runlog import RunLog, folder_of_frame
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

    def setting(self, name: str) -> Any:
        """A setting that the run was made with; None where it is not known."""
        settings = self.settings.get("settings")
        return settings.get(name) if isinstance(settings, dict) else None

    @property
    def knows_what_was_sent(self) -> bool:
        """False for what a receiver alone logged, which cannot know of frames that it missed."""
        if any(not record.get("received") for record in self.records):
            return True
        return self.setting("source") is None and (self.setting("connect") is None or bool(self.setting("sent")))

    def sent_picture(self, index: int) -> Path:
        return self.folder / "sent" / f"{index:05d}.png"

    def received_image(self, tile: Mapping[str, Any]) -> Path:
        """Where the whole image lies that a tile is of, if it is of one."""
        return self.folder / "received" / f"{_place(tile)}.png"

    def received_picture(self, tile: Mapping[str, Any]) -> Path:
        folder, name = _place(tile), f"{int(tile['index']):05d}.png"
        path = self.folder / "received" / folder / name
        if tile.get("frame_number") is not None and not path.is_file():  # repeated: a folder for each frame
            return path.parent.with_name(folder_of_frame(folder, int(tile["frame_number"]))) / name
        return path


def _place(tile: Mapping[str, Any]) -> str:
    """What the pictures of a tile's point are named by, or those of its scene where it is of no point."""
    return str(tile.get("point") or f"scene-{tile.get('scene_id')}")


def load_runs(folders: Iterable[str | Path]) -> list[Run]:
    """Read run folders; raises RunError for one that is not there, ReportError for one without frames."""
    runs = []
    for folder in map(Path, folders):
        log = RunLog(folder, must_exist=True)
        run = Run(folder, dict(log.settings()), list(log.records()), list(log.tiles()))
        if not run.records:
            raise ReportError(f"{folder}: its log holds no frames yet; run djscc campaign or djscc loopback first")
        if run.setting("prbs"):
            raise ReportError(f"{folder}: a run of test frames (--prbs), which hold no images; leave it out")
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


def arrived_text(runs: Iterable[Run], received: int, frames: int) -> str:
    """How many frames arrived, of how many where that is known."""
    if all(run.knows_what_was_sent for run in runs):
        return f"{count_text(received, 'frame')} of {frames:,} arrived."
    return f"{count_text(received, 'frame')} arrived; how many were sent, a receiver alone cannot know."
