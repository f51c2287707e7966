# SPDX-License-Identifier: GPL-3.0-or-later
"""Let torchvision load beside the CPU build of PyTorch; importing this module is enough.

The wheel of torchvision on the package registry is built for CUDA's PyTorch. On the CPU build its compiled operators cannot be
loaded, and its import then ends with "operator torchvision::nms does not exist". timm imports torchvision, but the
networks used here need none of its operators: it is enough to declare the two that it looks for. Where torchvision's own operators
load, nothing is done.
"""

from __future__ import annotations

import importlib.util

import torch

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library: torch.library.Library | None = None  # kept alive: the declarations end with it


def _load() -> None:
    global _library
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _library.define(operator + _NMS)
        import torchvision  # noqa: F401


_load()
