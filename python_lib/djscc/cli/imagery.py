# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc scale`` and ``georeference``: from a GeoTIFF of any samples to what a codec takes, and back onto the map."""

from __future__ import annotations

import argparse
from typing import Any

from djscc.cli import options


def add_commands(commands: Any) -> None:
    scale = options.command(
        commands,
        "scale",
        run_scale,
        "make an 8-bit copy of a GeoTIFF for a codec, with a scaling of your choice",
        "Samples between two values of each band become grey levels 0 to 255. `djscc transmit SCENE.tif` does the same with\n"
        "the default percentiles, 2 and 98, by itself. The copy keeps its place on the map, its tags tell the scaling.",
        "djscc scale scene.tif scene-8bit.tif --range 0 3000 --bands 4 3 2",
    )
    scale.add_argument("source", metavar="SCENE.tif", help="GeoTIFF of any sample type")
    scale.add_argument("out", metavar="OUT.tif", help="8-bit GeoTIFF to write")
    scale.add_argument(
        "--bands", nargs="+", type=options.count, metavar="N", help="bands to take, from 1 (default: all)"
    )
    limits = scale.add_mutually_exclusive_group()
    limits.add_argument(
        "--percentiles", nargs=2, type=options.number, default=(2.0, 98.0), metavar=("P", "Q"), help="default: 2 98"
    )
    limits.add_argument("--range", nargs=2, type=options.number, metavar=("LOW", "HIGH"), help="the same for all bands")
    options.add_json(scale)
    georeference = options.command(
        commands,
        "georeference",
        run_georeference,
        "write a received image as a GeoTIFF in the place of its original",
        "Coordinate system and transform are the original's.",
        "djscc georeference runs/pass/received/scene.png scene.tif received.tif",
    )
    georeference.add_argument(
        "received", metavar="RECEIVED.png", help="received image (.png, .npy where it has other bands)"
    )
    georeference.add_argument("original", metavar="ORIGINAL.tif", help="the GeoTIFF that was sent")
    georeference.add_argument("out", metavar="OUT.tif", help="GeoTIFF to write")
    georeference.add_argument(
        "--restore", action="store_true", help="undo the scaling: sample type and units of the original"
    )


def run_scale(arguments: argparse.Namespace) -> int:
    from djscc.imagery.geotiff import scale

    limits = None if arguments.range is None else tuple(arguments.range)
    scaling = scale(arguments.source, arguments.out, arguments.bands, tuple(arguments.percentiles), limits)
    options.write_json(arguments.json, {"low": scaling.low, "high": scaling.high})
    for band, (low, high) in enumerate(zip(scaling.low, scaling.high, strict=True), start=1):
        print(f"band {band}: {low:g} to {high:g}")
    print(arguments.out)
    return 0


def run_georeference(arguments: argparse.Namespace) -> int:
    from djscc.imagery.geotiff import georeference

    georeference(arguments.received, arguments.original, arguments.out, arguments.restore)
    print(arguments.out)
    return 0
