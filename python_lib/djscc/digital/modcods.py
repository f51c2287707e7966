# SPDX-License-Identifier: GPL-3.0-or-later
"""DVB-S2 and DVB-S2X: which modulation and code closes at an Es/N0, and how many bits it carries a symbol.

Thresholds are those of ETSI EN 302 307-1, table 13, and EN 302 307-2, table 20a: Es/N0 in dB at quasi-error-free reception over
AWGN, frames of 64,800 bits. Bits a symbol are log2(points) x code rate: no framing, no pilots, no outer code, all in favour of the
digital link (by 1 to 3 %). Below the first threshold nothing closes: the very-low-SNR modes of DVB-S2X are left out.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Modcod:
    """A modulation of 2^``bits`` points with a code of ``rate``, and the Es/N0 in dB from which it closes."""

    modulation: str
    bits: int
    rate: Fraction
    threshold_db: float

    @property
    def bits_per_symbol(self) -> float:
        """Information bits of one channel symbol."""
        return float(self.bits * self.rate)

    def __str__(self) -> str:
        return f"{self.modulation} {self.rate}"


_BITS = {"QPSK": 2, "8PSK": 3, "8APSK": 3, "16APSK": 4, "32APSK": 5, "64APSK": 6, "128APSK": 7, "256APSK": 8}
_THRESHOLDS_DB = {  # codes marked L in the standard (for linear channels) are those of the lower threshold
    "QPSK": "2/9 -2.85, 1/4 -2.35, 13/45 -2.03, 1/3 -1.24, 2/5 -0.30, 9/20 0.22, 1/2 1.00, 11/20 1.45, 3/5 2.23, 2/3 3.10, "
    "3/4 4.03, 4/5 4.68, 5/6 5.18, 8/9 6.20, 9/10 6.42",
    "8PSK": "3/5 5.50, 23/36 6.12, 2/3 6.62, 25/36 7.02, 13/18 7.49, 3/4 7.91, 5/6 9.35, 8/9 10.69, 9/10 10.98",
    "8APSK": "5/9 4.73, 26/45 5.13",
    "16APSK": "1/2 5.97, 8/15 6.55, 5/9 6.84, 3/5 7.41, 26/45 7.51, 28/45 8.10, 23/36 8.38, 2/3 8.43, 25/36 9.27, 13/18 9.71, "
    "3/4 10.21, 7/9 10.65, 4/5 11.03, 5/6 11.61, 77/90 11.99, 8/9 12.89, 9/10 13.13",
    "32APSK": "2/3 11.10, 32/45 11.75, 11/15 12.17, 3/4 12.73, 7/9 13.05, 4/5 13.64, 5/6 14.28, 8/9 15.69, 9/10 16.05",
    "64APSK": "32/45 13.98, 11/15 14.81, 7/9 15.47, 4/5 15.87, 5/6 16.55",
    "128APSK": "3/4 17.73, 7/9 18.53",
    "256APSK": "29/45 16.98, 2/3 17.24, 31/45 18.10, 32/45 18.59, 11/15 18.84, 3/4 19.57",
}

MODCODS = sorted(
    (
        Modcod(modulation, _BITS[modulation], Fraction(rate), float(threshold))
        for modulation, entries in _THRESHOLDS_DB.items()
        for rate, threshold in (entry.split() for entry in entries.split(", "))
    ),
    key=lambda m: m.threshold_db,
)


def best_modcod(snr_db: float) -> Modcod | None:
    """The one of most bits a symbol that closes at an Es/N0 in dB; None below all of them, which is an outage."""
    closing = MODCODS[: bisect.bisect_right(MODCODS, snr_db, key=lambda m: m.threshold_db)]
    return max(closing, key=lambda m: m.bits_per_symbol, default=None)


def byte_budget(symbols: int, snr_db: float) -> int:
    """Whole bytes that ``symbols`` channel symbols carry at an Es/N0 in dB; 0 where nothing closes."""
    modcod = best_modcod(snr_db)
    return 0 if modcod is None else math.floor(symbols * modcod.bits * modcod.rate / 8)
