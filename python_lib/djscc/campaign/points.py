# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one point of a campaign, at symbol level or as a GNU Radio flowgraph; both give the same records."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from djscc.campaign.plan import Plan, Point
from djscc.campaign.reception import FrameSink
from djscc.campaign.runlog import RunLog
from djscc.campaign.sender import FrameSource
from djscc.channels import ChannelDescription, load_channel
from djscc.codec import load_codec
from djscc.errors import DjsccError
from djscc.imagery import TileSet
from djscc.waveform import FrameReport, ReceivedFrame, WaveformSettings


class FlowgraphError(DjsccError):
    """The GNU Radio flowgraph cannot run, or ended with an error."""


def channel_of(plan: Plan, point: Point) -> ChannelDescription:
    """The channel of a point: the named one, with the plan's impairments and the point's Es/N0."""
    return load_channel(point.channel).replace(snr_db=point.snr_db, **plan.impairments)


def run_point(plan: Plan, point: Point, tiles: TileSet, log: RunLog | None = None) -> list[dict[str, Any]]:
    """Send all tiles over one point; returns the record of each frame, lost ones too. They are in ``log`` by then."""
    codec = load_codec(point.codec, plan.decoder)
    told = point.snr_db if plan.told else None
    source = FrameSource(
        tiles, codec, codec.layers_for_ratio(point.ratio), told, plan.tiles_per_frame, by_content=plan.by_content
    )
    settings = WaveformSettings(symbol_rate=plan.symbol_rate)
    identity = {
        "point": point.key,
        "channel": point.channel,
        "codec": codec.name,
        "snr_db": point.snr_db,
        "seed": point.seed,
    }
    sink = FrameSink([codec], tiles, log, identity, plan.pictures, plan.metrics, settings)
    channel = channel_of(plan, point)
    if plan.level == "symbols":
        _symbol_level(source, sink, channel, point.seed)
    else:
        _flowgraph(source, sink, channel, settings, point.seed)
    arrived = {record["frame_number"] for record in sink.records}
    for index in range(len(source)):
        header = source.header(index)
        if header.frame_number not in arrived:
            sink.lost(header)
    return sink.records


def _symbol_level(source: FrameSource, sink: FrameSink, channel: ChannelDescription, seed: int) -> None:
    import torch

    from djscc.channels import SymbolChannel

    symbol_channel = SymbolChannel(channel, seed)
    snr_db = sink.point["snr_db"]
    exact = FrameReport(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, snr_db=snr_db, lost_samples=0, erased=0.0)
    for header, payload in source:
        sent = torch.view_as_real(torch.from_numpy(payload)).split(
            [n * header.symbols_per_layer for n in header.layers]
        )
        arrived = [symbol_channel(tile[None], torch.tensor([snr_db])) for tile in sent]
        symbols = torch.view_as_complex(torch.cat([received[0] for received, _ in arrived])).numpy()
        noise_variance = torch.cat([variance[0] for _, variance in arrived]).numpy().astype(np.float32)
        sink.accept(ReceivedFrame(header, symbols, noise_variance, np.ones(len(symbols), dtype=bool), exact))


def _flowgraph(
    source: FrameSource, sink: FrameSink, channel: ChannelDescription, settings: WaveformSettings, seed: int
) -> None:
    blocks = gnuradio_module()
    from djscc.channels import SampleChannel

    samples = SampleChannel(channel, settings.sample_rate, settings.samples_per_symbol, settings.mean_power, seed)
    blocks.loopback(source, sink, samples, settings).run_to_end()


def gnuradio_module() -> Any:
    """The module ``gnuradio.djscc``; FlowgraphError with the remedy when GNU Radio or the module is not there."""
    try:
        return importlib.import_module("gnuradio.djscc")
    except ImportError as error:
        raise FlowgraphError(
            f"gnuradio.djscc cannot be imported ({error}); run `make` in the source tree, or `djscc doctor` to see what is missing"
        ) from error
