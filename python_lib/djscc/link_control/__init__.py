# SPDX-License-Identifier: GPL-3.0-or-later
"""Adaptive coding and modulation by semantic loss: the ratio follows the receiver's SNR reports, for a wanted quality."""

from djscc.link_control.choices import Choice, ControlError, choices_of_model
from djscc.link_control.controller import Controller, ControllerSettings
from djscc.link_control.feedback import ClosedLoop, chosen_model, loop_of_model

__all__ = [
    "Choice",
    "ClosedLoop",
    "ControlError",
    "Controller",
    "ControllerSettings",
    "choices_of_model",
    "chosen_model",
    "loop_of_model",
]
