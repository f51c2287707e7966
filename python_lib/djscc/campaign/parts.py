# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut a campaign into parts, each some frames of one point: what a worker does at a time, and what is lost if it dies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from djscc.campaign.plan import Plan, Point

PART_TILES = 256  # about two seconds of one core


@dataclass(frozen=True)
class Part:
    """Frames of one point, by their index in it, and how many tiles they hold."""

    point: Point
    frames: range | tuple[int, ...]
    tiles: int


@dataclass(frozen=True)
class Effort:
    """What was done: tiles (each counted at each point), and seconds of workers: in all, within networks, and of their CPU."""

    tiles: int = 0
    seconds: float = 0.0
    network_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: Effort) -> Effort:
        return Effort(
            self.tiles + other.tiles,
            self.seconds + other.seconds,
            self.network_seconds + other.network_seconds,
            self.cpu_seconds + other.cpu_seconds,
        )


def frames_of(plan: Plan, tiles: int) -> int:
    """Frames of each point."""
    return plan.repeat * -(-tiles // plan.tiles_per_frame)


def tiles_in(plan: Plan, tiles: int, frames: range | tuple[int, ...]) -> int:
    """Tiles that frames hold: the last of each repetition may hold fewer."""
    each = -(-tiles // plan.tiles_per_frame)
    short = sum(1 for f in frames if f % each == each - 1)
    return len(frames) * plan.tiles_per_frame - short * (each * plan.tiles_per_frame - tiles)


def cut(plan: Plan, tiles: int, done: Mapping[str, Set[int]]) -> Iterator[Part]:
    """The parts that are left to do; ``done`` are the logged frames of each point, by its key.

    At symbol level the same frames come at every point before the next frames do, so that what belongs to the
    originals alone is computed once and needs little memory. A flowgraph runs whole points.
    """
    total = frames_of(plan, tiles)
    if plan.level == "flowgraph":
        for point in plan.points():
            if len(done.get(point.key, ())) < total:
                yield Part(point, range(total), tiles * plan.repeat)
        return
    step = max(1, PART_TILES // plan.tiles_per_frame)
    for start in range(0, total, step):
        for point in plan.points():
            frames: range | tuple[int, ...] = range(start, min(start + step, total))
            logged = done.get(point.key, ())
            if logged:
                frames = tuple(f for f in frames if f not in logged)
            if frames:
                yield Part(point, frames, tiles_in(plan, tiles, frames))
