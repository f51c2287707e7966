# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of programs that run for hours: what they free goes back to the system. What concerns glibc is done only there."""

from __future__ import annotations

import ctypes
import gc

M_MMAP_THRESHOLD = -3  # of malloc.h
LARGE = 1 << 20  # bytes


def map_large_blocks() -> None:
    """Have blocks of 1 MiB and more mapped, each by itself, so that freeing one returns it whole. Call it before they are made.

    glibc on its own soon puts blocks of up to 32 MiB between small ones, where they leave holes; and as NumPy asks for huge pages
    under its large arrays, the kernel may fill such holes again, 2 MiB at a time (mallopt(3), khugepaged).
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGE)


def spare_what_is_loaded() -> None:
    """Have the garbage collector pass over all that exists now, hundreds of thousands of objects; :func:`spare_no_more` ends it.

    Each collection then takes a millisecond, not a hundred, through which every thread of Python would wait.
    """
    gc.collect()
    gc.freeze()


def spare_no_more() -> None:
    """Undo :func:`spare_what_is_loaded`."""
    gc.unfreeze()


def return_freed_memory() -> None:
    """Collect cyclic garbage, and return free pages that lie between what is in use, which glibc keeps otherwise (malloc_trim(3)).

    Python leaves garbage that has lived through two collections until it is a quarter of all objects. GNU Radio's gateway makes
    a class, which is a cycle, for each call of a block's work: in a program with PyTorch loaded they would pile up for hours.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
