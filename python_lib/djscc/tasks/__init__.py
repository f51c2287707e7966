# SPDX-License-Identifier: GPL-3.0-or-later
"""What a received image is worth for a task: land-cover classification, and whatever else is registered as a :class:`Task`."""

from typing import TYPE_CHECKING, Any

from djscc.tasks.results import TaskError, summarise

if TYPE_CHECKING:
    from djscc.tasks.task import Task, available_tasks, load_task, load_tasks, register

__all__ = ["Task", "TaskError", "available_tasks", "load_task", "load_tasks", "register", "summarise"]


def __getattr__(name: str) -> Any:
    """Import torch only when a task is loaded: plans and logs do without."""
    if name in __all__:
        from djscc.tasks import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
