# SPDX-License-Identifier: GPL-3.0-or-later
"""The digital link to compare with: JPEG 2000, WebP or AVIF over ideal DVB-S2/S2X, with the same channel symbols as the codec."""

from djscc.digital.image_codecs import FORMATS, BudgetEncoder, DigitalError
from djscc.digital.link import DigitalFrame, mosaic, send
from djscc.digital.modcods import MODCODS, Modcod, best_modcod, byte_budget

__all__ = [
    "FORMATS",
    "MODCODS",
    "BudgetEncoder",
    "DigitalError",
    "DigitalFrame",
    "Modcod",
    "best_modcod",
    "byte_budget",
    "mosaic",
    "send",
]
