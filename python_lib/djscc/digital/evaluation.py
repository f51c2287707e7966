# SPDX-License-Identifier: GPL-3.0-or-later
"""`djscc evaluate --codec jpeg2000|webp|avif`: the same measurement as a codec's, over the digital link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from djscc.campaign.reception import FrameSink
from djscc.campaign.sender import scene_id
from djscc.campaign.summary import sum_up
from djscc.digital.image_codecs import DigitalError
from djscc.digital.link import send
from djscc.digital.modcods import MODCODS, best_modcod
from djscc.imagery import TileSet
from djscc.tasks import Task
from djscc.waveform import FrameHeader


def evaluate(
    tiles: TileSet, image_codec: str, ratio: float, snr_db: float, tiles_per_frame: int = 64, tasks: Sequence[Task] = ()
) -> dict[str, Any]:
    """Send tiles over the ideal link; the result keys of ``sum_up``, and ``modcod``.

    DigitalError for an outage, or a ratio whose bytes the image codec cannot get down to: then no frame arrives.
    """
    count, height, width, bands = tiles.images.shape
    if height != width or bands != 3:
        raise DigitalError(
            f"tiles of {height} x {width} x {bands}: {image_codec} is measured on square tiles of three bands"
        )
    modcod = best_modcod(snr_db)
    if modcod is None:
        raise DigitalError(f"--snr {snr_db:g}: no MODCOD of DVB-S2/S2X closes below {MODCODS[0].threshold_db:g} dB")
    scene = scene_id(tiles.images)
    sink = FrameSink(references=tiles, tasks=tasks)
    records = []
    for number, (frame,) in enumerate(send(tiles.images, image_codec, [(ratio, snr_db)], tiles_per_frame)):
        first = number * tiles_per_frame
        header = FrameHeader(
            codec_id=0,
            scene_id=scene,
            frame_number=number & 0xFFFF,
            tile_index=first,
            tiles_total=count,
            layers=(1,) * min(tiles_per_frame, count - first),
            symbols_per_layer=1,
            tile_height=height,
            tile_width=width,
            bands=bands,
        )
        arrived = frame.decoded is not None
        entries = (
            sink.names(header)
            if frame.decoded is None
            else sink.score(header, frame.decoded, [0.0] * len(header.layers))
        )
        figures = {"ratio": ratio, "on_air_ratio": ratio, "snr_est_db": snr_db}
        records.append({"received": arrived, "frame_number": number, "tiles": entries, **figures})
    result = sum_up(records)
    if not result["images"]:
        raise DigitalError(
            f"{image_codec} over {modcod}: no frame of {tiles_per_frame} tiles fits the bytes of ratio 1/{1 / ratio:.4g} at "
            f"{snr_db:g} dB; raise the ratio or the Es/N0"
        )
    return result | {"modcod": str(modcod)}
