# SPDX-License-Identifier: GPL-3.0-or-later
"""The semantic loss of a received image as a function of ratio and SNR: forms, fit, selection, and the fitted model."""

from djscc.semantic_loss.cells import Cells, FitError, Series, collect
from djscc.semantic_loss.fit import FormFit, fit_form
from djscc.semantic_loss.forms import FORMS, Form, Parameter
from djscc.semantic_loss.losses import FULL_SCALE_DB, LOSSES, Loss, MetricError, loss_of_metric
from djscc.semantic_loss.model import FittedModel, ModelError, Quality, load_models, only_model
from djscc.semantic_loss.relation import Relation, relate, relations
from djscc.semantic_loss.selection import FitReport, MetricFit, common_form, fit_metric, fit_run_logs, split_series

__all__ = [
    "FORMS",
    "FULL_SCALE_DB",
    "LOSSES",
    "Cells",
    "FitError",
    "FitReport",
    "FittedModel",
    "Form",
    "FormFit",
    "Loss",
    "MetricError",
    "MetricFit",
    "ModelError",
    "Parameter",
    "Quality",
    "Relation",
    "Series",
    "collect",
    "common_form",
    "fit_form",
    "fit_metric",
    "fit_run_logs",
    "load_models",
    "loss_of_metric",
    "only_model",
    "relate",
    "relations",
    "split_series",
]
