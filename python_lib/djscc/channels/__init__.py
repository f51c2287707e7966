# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels, described once: on batches of symbols for training (torch), on streams of samples for radio (numpy)."""

from typing import TYPE_CHECKING, Any

from djscc.channels.description import ChannelDescription, load_channel, presets
from djscc.channels.sample_channel import SampleChannel
from djscc.channels.schema import ChannelError

if TYPE_CHECKING:
    from djscc.channels.symbol_channel import SymbolChannel

__all__ = ["ChannelDescription", "ChannelError", "SampleChannel", "SymbolChannel", "load_channel", "presets"]


def __getattr__(name: str) -> Any:
    """Import torch only when a SymbolChannel is asked for: a receiver does without."""
    if name == "SymbolChannel":
        from djscc.channels.symbol_channel import SymbolChannel

        return SymbolChannel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
