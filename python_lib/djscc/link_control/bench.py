# SPDX-License-Identifier: GPL-3.0-or-later
"""Semantic ACM over a pass and over a shadowed link: ``python -m djscc.link_control.bench`` writes results/acm.json and .png."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from djscc.campaign import resolve_data
from djscc.channels import load_channel
from djscc.codec import load_codec
from djscc.imagery import load_tiles
from djscc.link_control.acm import SNR_DB, plot, run_acm
from djscc.link_control.choices import RATIOS
from djscc.link_control.measured import measure_plane
from djscc.semantic_loss import LOSSES

WANTED_DB = 30.0
SEED = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m djscc.link_control.bench", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    codec, tiles = load_codec("adaptive", "lite"), load_tiles(resolve_data("landsat"))
    measured = measure_plane(codec, tiles, RATIOS, SNR_DB, LOSSES["psnr"], SEED)
    model = measured.fit(SEED)
    comparisons = [
        run_acm(measured, model, codec, tiles, load_channel("leo-600km-x-band"), WANTED_DB, load_channel("rician-k10")),
        run_acm(measured, model, codec, tiles, load_channel("land-mobile"), WANTED_DB, seconds=300.0),
    ]
    for comparison in comparisons:
        print(comparison.table())
    result = {
        "command": "python -m djscc.link_control.bench",
        "codec": f"{codec.name} ({codec.id:08x}), decoder lite",
        "tiles": f"{len(tiles)} of the shipped Landsat scene",
        "model": {"form": model.form.name, "held_out_mape": model.held_out.mape, "fitted_to": "AWGN, the same tiles"},
        "scenarios": [comparison.to_dict() for comparison in comparisons],
    }
    (out / "acm.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    plot(comparisons, out / "acm.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
