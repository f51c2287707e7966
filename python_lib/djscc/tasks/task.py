# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that received images serve, as everything else sees it, and the registry of kinds of tasks.

To add a kind (detection, segmentation), derive from :class:`Task`, decorate the class with ``@register("name")``, and put
``"kind": "name"`` into the manifest of its folder. A package of its own makes itself known by an entry point of the
group ``djscc.tasks``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from djscc.cache import BoundedCache
from djscc.imagery import TileSet
from djscc.tasks.results import TaskError
from djscc.tasks.weights import available_tasks, find_task, read_manifest

__all__ = ["KINDS", "Task", "TaskError", "available_tasks", "load_task", "load_tasks", "register"]


class Task(ABC):
    """Judges received tiles.

    Args:
        name: its name in plans and logs.
        id: the first eight digits of its weights' SHA-256.
        manifest: what its folder says of it.
        network: takes images (B, 3, H, W) in 0..1; gradients pass through it to them, for codecs that are trained for the task.
    """

    def __init__(self, name: str, id: str, manifest: dict[str, Any], network: nn.Module) -> None:
        self.name, self.id, self.manifest, self.network = name, id, manifest, network
        self._references: BoundedCache[tuple[Any]] = BoundedCache(1 << 16, lambda kept: 1)

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, manifest: dict[str, Any], device: str) -> Task:
        """Read what the folder holds; TaskError when it cannot be used."""

    @abstractmethod
    def find_reference(self, originals: TileSet) -> Any:
        """What is to be known of the originals: the decisions on them, and the truth where there is one."""

    @abstractmethod
    def measure(self, received: NDArray[np.uint8], reference: Any | None) -> list[dict[str, Any]]:
        """The log entry of each tile of (N, H, W, 3), as :mod:`djscc.tasks.results` describes it.

        ``reference`` is what :meth:`find_reference` gave for the originals of these tiles; None where they are not at hand.
        """

    def reference(self, key: Hashable, originals: Callable[[], TileSet]) -> Any:
        """:meth:`find_reference`, once for each ``key`` (scene id and which of its tiles)."""
        return self._references.get(key, lambda: (self.find_reference(originals()),))[0]


KINDS: dict[str, type[Task]] = {}
_T = TypeVar("_T", bound=type[Task])


def register(kind: str) -> Callable[[_T], _T]:
    """Make a class known as the one that loads tasks of this kind."""

    def decorate(cls: _T) -> _T:
        KINDS[kind] = cls
        return cls

    return decorate


def _find_kinds() -> None:
    import_module("djscc.tasks.classification")
    for entry in entry_points(group="djscc.tasks"):
        try:
            entry.load()
        except Exception as error:  # somebody else's package raises anything
            raise TaskError(
                f"the tasks of {entry.value} cannot be loaded ({error}); repair or remove that package"
            ) from error


@cache
def load_task(name: str, device: str = "cpu") -> Task:
    """Load a task by name or folder, once in a process. TaskError when there is none, or its weights are wrong or damaged."""
    folder = find_task(name)
    manifest = read_manifest(folder)
    _find_kinds()
    if manifest["kind"] not in KINDS:
        raise TaskError(f"{folder}: kind {manifest['kind']!r} of task is unknown; known are {', '.join(KINDS)}")
    return KINDS[manifest["kind"]].load(folder, manifest, device)


def load_tasks(names: Sequence[str]) -> list[Task]:
    """Several tasks; TaskError for two of one name, which a log could not tell apart."""
    tasks = [load_task(name) for name in names]
    if len({task.name for task in tasks}) < len(tasks):
        raise TaskError(
            f"tasks {', '.join(names)}: two have one name, {', '.join(t.name for t in tasks)}; leave one out"
        )
    return tasks
