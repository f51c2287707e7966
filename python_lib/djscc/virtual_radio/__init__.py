# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual radios in one air, which the unmodified gr-iio and gr-uhd blocks speak to: an experiment rehearsed without hardware."""

from djscc.virtual_radio.air import Air
from djscc.virtual_radio.server import RadioServer
from djscc.virtual_radio.settings import AirSettings, RadioSettings, VirtualRadioError, load_air

__all__ = ["Air", "AirSettings", "RadioServer", "RadioSettings", "VirtualRadioError", "load_air"]
