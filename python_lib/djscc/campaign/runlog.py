# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a run: settings, an append-only log of one JSON line a frame, and pictures.

``run.yaml`` holds all settings, seeds, versions and codec ids; ``frames.jsonl`` what was received (or lost), frame by frame, with
a list of its tiles; ``sent/`` and ``received/<point>/`` pictures. A torn last line (power cut, kill) loses that line only.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from djscc import __version__
from djscc.errors import DjsccError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,150}\Z")


class RunError(DjsccError):
    """A run folder that cannot be used; the message names it and the remedy."""


class RunLog:
    """One run folder. Opening makes the folder unless ``must_exist``; nothing that is there is ever overwritten or cut."""

    def __init__(self, folder: str | Path, must_exist: bool = False) -> None:
        self.folder = Path(folder)
        self.frames = self.folder / "frames.jsonl"
        if must_exist and not self.frames.is_file():
            raise RunError(f"{self.folder}: no run there (frames.jsonl is missing); give the folder that --run named")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be made ({error.strerror}); choose another --run folder") from error

    def settings(self) -> dict[str, Any]:
        """What run.yaml says; empty when there is none yet."""
        file = self.folder / "run.yaml"
        if not file.exists():
            return {}
        try:
            settings = yaml.safe_load(file.read_text())
        except yaml.YAMLError as error:
            raise RunError(f"{file}: not YAML ({error}); restore it, frames.jsonl is untouched") from error
        if not isinstance(settings, dict) or not isinstance(settings.get("settings"), dict):
            raise RunError(f"{file}: not a run's settings; restore it, or move the folder away")
        return settings

    def start(self, settings: Mapping[str, Any], replace: bool = False) -> None:
        """Write run.yaml, or, when the run is there already, check that it is the same run.

        ``replace``: settings of an attempt that logged no frame are written over.

        Raises RunError when the folder holds a run with other settings: its results would be mixed up with the new ones.
        """
        plain = json.loads(json.dumps(settings))
        old = self.settings() if self.frames.exists() or not replace else {}
        if old:
            differing = sorted(
                k for k in plain.keys() | old["settings"].keys() if plain.get(k) != old["settings"].get(k)
            )
            if differing:
                was = ", ".join(f"{k}: {old['settings'].get(k)!r} there, {plain.get(k)!r} now" for k in differing)
                raise RunError(f"{self.folder}: holds a run with other settings ({was}); choose another --run folder")
            return
        text = yaml.safe_dump(
            {"started": now(), "versions": versions(), "machine": platform.machine(), "settings": plain},
            sort_keys=False,
        )
        temporary = self.folder / "run.yaml.tmp"
        try:
            temporary.write_text(text)
            temporary.replace(self.folder / "run.yaml")
        except OSError as error:
            raise RunError(
                f"{self.folder}: cannot be written ({error.strerror}); choose another --run folder"
            ) from error

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one frame to the log, on disk when this returns."""
        self.append_all([record])

    def append_all(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add several frames to the log, one line each, on disk when this returns."""
        if not records:
            return
        lines = [json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n" for record in records]
        try:
            descriptor = os.open(self.frames, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(
                f"{self.frames}: cannot be opened ({error.strerror}); choose another --run folder"
            ) from error
        try:
            with suppress(OSError):  # of a file system without locks: a line that another is writing then looks torn
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            # one write, so that several processes may append to one log
            data = b"\n" * torn + "".join(lines).encode()
            if os.write(descriptor, data) != len(data):
                raise RunError(f"{self.frames}: the disk is full; make room, then run the same command again")
            os.fsync(descriptor)
        except OSError as error:
            raise RunError(f"{self.frames}: cannot be written ({error.strerror}); what it holds is kept") from error
        finally:
            os.close(descriptor)

    def records(self) -> Iterator[dict[str, Any]]:
        """Every frame of the log. Damaged lines are skipped; a frame of a campaign point that was logged twice counts once."""
        seen = set()
        try:
            file = self.frames.open("rb")
        except OSError as error:
            raise RunError(f"{self.folder}: no run there (frames.jsonl: {error.strerror})") from error
        with file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if not isinstance(record, dict):
                    continue
                if record.get("point") is not None:
                    key = (record["point"], record.get("scene_id"), record.get("frame_number"))
                    if key in seen:
                        continue
                    seen.add(key)
                yield record

    def logged(self) -> dict[str, set[int]]:
        """The numbers of the frames that are in the log already, by campaign point; empty where there is no log yet."""
        frames: dict[str, set[int]] = defaultdict(set)
        if self.frames.exists():
            for record in self.records():
                if record.get("point") is not None and isinstance(record.get("frame_number"), int):
                    frames[record["point"]].add(record["frame_number"])
        return frames

    def add_session(self, session: Mapping[str, Any]) -> None:
        """Note in ``sessions.jsonl`` what one call of a campaign did: when, with which workers, how fast."""
        try:
            with (self.folder / "sessions.jsonl").open("a") as file:
                file.write(json.dumps(session, allow_nan=False) + "\n")
        except OSError as error:
            raise RunError(f"{self.folder}: sessions.jsonl cannot be written ({error.strerror})") from error

    def sessions(self) -> list[dict[str, Any]]:
        """What :meth:`add_session` noted, first to last."""
        file = self.folder / "sessions.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        out = []
        for line in lines:
            try:
                out.append(json.loads(line))
            except ValueError:
                continue  # a torn line loses that line only
        return out

    def tiles(self) -> list[dict[str, Any]]:
        """Every tile of the log as one flat mapping: what its frame's record says and what its own entry says."""
        out = []
        for record in self.records():
            frame = {k: v for k, v in record.items() if k != "tiles"}
            out += [frame | tile for tile in record.get("tiles", ())]
        return out

    def picture_path(self, *parts: str) -> Path:
        """Where the picture of a name is; RunError for parts that are no safe file names."""
        for part in parts:
            if not SAFE_NAME.match(part):
                raise RunError(f"{part!r} is no safe file name")
        *folders, name = parts
        return self.folder.joinpath(*folders, f"{name}.png")

    def save_picture(self, image: NDArray[np.uint8], *parts: str) -> Path:
        """Write a PNG at ``parts`` (folders and a name, each a safe file name) below the run folder.

        Of images with other than one or three bands it shows the first, or the first three; all of them lie beside it as .npy.
        """
        path = self.picture_path(*parts)
        temporary = path.with_name(path.name + ".tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            shown = image[:, :, :3] if image.shape[2] >= 3 else image[:, :, 0]
            Image.fromarray(np.ascontiguousarray(shown)).save(temporary, format="PNG")
            temporary.replace(path)
            if image.shape[2] not in (1, 3):
                with temporary.open("wb") as file:
                    np.save(file, image, allow_pickle=False)
                temporary.replace(path.with_suffix(".npy"))
        except OSError as error:
            raise RunError(f"{path}: cannot be written ({error.strerror}); the log is kept") from error
        return path


def folder_of_frame(point: str, frame_number: int) -> str:
    """The folder below ``received/`` of one frame alone, where frames repeat the scene of a point."""
    return f"{point}_f{frame_number:05d}"


def versions() -> dict[str, str]:
    """What a run depends on; GNU Radio where it is installed."""
    found = {"djscc": __version__, "python": platform.python_version(), "numpy": np.__version__}
    for package in ("torch", "timm"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if program := shutil.which("gnuradio-config-info"):
        try:
            answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return found
        found["gnuradio"] = answer.stdout.strip()
    return found


def now() -> str:
    """The time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
