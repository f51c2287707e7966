# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks as folders: a manifest and a safetensors file that is checked by its SHA-256 before it is used.

A task is looked for by name in the folders of ``DJSCC_TASKS`` (separated by ``:``), then among those that the library ships;
or it is the path of a folder. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from djscc import DATA
from djscc.tasks.results import TaskError

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"


def available_tasks() -> dict[str, Path]:
    """Name to folder of every task that can be loaded by name."""
    found: dict[str, Path] = {}
    for folder in (*(Path(p) for p in os.environ.get("DJSCC_TASKS", "").split(":") if p), DATA / "tasks"):
        for manifest in sorted(folder.glob(f"*/{MANIFEST}")):
            found.setdefault(manifest.parent.name, manifest.parent)
    return found


def find_task(name: str | Path) -> Path:
    """The folder of a task by name or path; TaskError when there is none."""
    known = available_tasks()
    folder = known.get(str(name), Path(name))
    if not (folder / MANIFEST).is_file():
        raise TaskError(
            f"task {str(name)!r} is not here; known are {', '.join(known) or 'none'}, or give its folder's path"
        )
    return folder


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a task's folder; TaskError when it is not one of format 1."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except OSError as error:
        raise TaskError(f"{folder}: no task there ({MANIFEST}: {error.strerror})") from error
    except ValueError as error:
        raise TaskError(f"{folder / MANIFEST}: not JSON ({error}); copy the task's folder again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != 1 or not {"name", "kind"} <= manifest.keys():
        raise TaskError(f"{folder / MANIFEST}: not a task's manifest of format 1; a newer djscc may be needed")
    return manifest


def checked_bytes(folder: Path, file: str, sha256: str) -> bytes:
    """The bytes of a file of a task's folder; TaskError when its SHA-256 is another."""
    path = folder / Path(file).name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror}); copy the task's folder again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise TaskError(
            f"{path}: wrong or damaged weights: SHA-256 {found}, the manifest says {sha256}; copy the task's folder again"
        )
    return data
