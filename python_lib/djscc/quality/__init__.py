# SPDX-License-Identifier: GPL-3.0-or-later
"""What a received image is worth as a picture: MSE, PSNR, SSIM, MS-SSIM, LPIPS, each per image."""

from djscc.quality.metrics import METRICS, measure, summarise

__all__ = ["METRICS", "measure", "summarise"]
