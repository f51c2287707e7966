# SPDX-License-Identifier: GPL-3.0-or-later
"""What a received image is worth as a picture: MSE, PSNR, SSIM, MS-SSIM, LPIPS, each per image."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from djscc.quality.metrics import Originals, QualityError, measure, summarise

METRICS = ("mse", "psnr_db", "ssim", "ms_ssim", "lpips")
ESTIMATES = ("psnr_est_db", "lpips_est")  # of a tile whose original is not at hand

__all__ = ["ESTIMATES", "METRICS", "Originals", "QualityError", "measure", "summarise"]


def __getattr__(name: str) -> Any:
    """Import torch only when something is measured: plans and logs do without."""
    if name in __all__:
        from djscc.quality import metrics

        return getattr(metrics, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
