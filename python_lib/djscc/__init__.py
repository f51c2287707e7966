# SPDX-License-Identifier: GPL-3.0-or-later
"""Deep joint source-channel coding (DJSCC) of Earth-observation imagery: from images to channel symbols and back.

The packages stand along the way of the data: ``imagery``, ``codec``, ``waveform``, ``channels``, ``quality``, ``tasks``,
``campaign``, ``semantic_loss``, ``planning``, ``report``, ``cli``. Nothing
here imports GNU Radio; its blocks are in ``gnuradio.djscc``.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    __version__ = version("djscc")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+unknown"

DATA = Path(__file__).parent / "data"
"""What the library ships: codecs, channels, plans, training configurations, scenarios, Landsat tiles."""
