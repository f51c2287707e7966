# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of everything that samples go to or come from."""

from djscc.errors import DjsccError


class StreamError(DjsccError):
    """A source or sink of samples that cannot be used."""


class OutOfLimitsError(StreamError):
    """A value outside of what a device says that it can do: its option ``name``, ``value``, and the limits ``low`` and ``high``."""

    def __init__(self, device: object, name: str, value: float, low: float, high: float, unit: str) -> None:
        super().__init__(
            f"{device}: {name} {value:.10g} {unit} is outside of the device's {low:.10g} to {high:.10g} {unit}"
        )
        self.name, self.value, self.low, self.high = name, value, low, high
