# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one point of a campaign, at symbol level or as a GNU Radio flowgraph; both give the same records."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from djscc.campaign.plan import Plan, PlanError, Point
from djscc.campaign.reception import FrameSink, finite
from djscc.campaign.runlog import RunLog
from djscc.campaign.sender import FrameSource
from djscc.channels import ChannelDescription, load_channel
from djscc.codec import Codec, load_codec
from djscc.errors import DjsccError
from djscc.imagery import TileSet
from djscc.waveform import FrameReport, ReceivedFrame, WaveformSettings

if TYPE_CHECKING:
    from djscc.channels import SymbolChannel
    from djscc.channels.satellite_pass import SatellitePass


class FlowgraphError(DjsccError):
    """The GNU Radio flowgraph cannot run, or ended with an error."""


@cache
def codec_of(name: str, decoder: str | None) -> Codec:
    """A codec, loaded and checked once in a process however many points use it."""
    return load_codec(name, decoder)


def channel_of(plan: Plan, point: Point) -> ChannelDescription:
    """The channel of a point: the named one, with the plan's impairments and the point's Es/N0."""
    channel = load_channel(point.channel).replace(**plan.impairments)
    if point.snr_db is None and (channel.link is None or plan.level == "symbols"):
        raise PlanError(f"channel {channel.name} has no link budget that tells the Es/N0; give --snr")
    return channel if point.snr_db is None else channel.replace(snr_db=point.snr_db)


def run_point(plan: Plan, point: Point, tiles: TileSet, log: RunLog | None = None) -> list[dict[str, Any]]:
    """Send all tiles over one point; returns the record of each frame, lost ones too. They are in ``log`` by then."""
    codec = codec_of(point.codec, plan.decoder)
    source = FrameSource(
        tiles,
        codec,
        codec.layers_for_ratio(point.ratio),
        told_snr_db=point.snr_db if plan.told else None,
        tiles_per_frame=plan.tiles_per_frame,
        by_content=plan.by_content,
        repeat=plan.repeat,
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
    if plan.repeat > 1:  # each time its own pictures, a few
        sink.pictures, sink.folder_a_frame = min(plan.pictures, 4), True
    channel = channel_of(plan, point)
    if plan.level == "symbols":
        assert point.snr_db is not None  # channel_of saw to it
        from djscc.channels import SymbolChannel

        _symbol_level(source, sink, SymbolChannel(channel, point.seed, symbol_rate=plan.symbol_rate), point.snr_db)
    else:
        _flowgraph(source, sink, channel, settings, point.seed)
    arrived = {record["frame_number"] for record in sink.records}
    for index in range(len(source)):
        if source.number(index) not in arrived:
            sink.lost(source.header(index))
    return list(sink.records)


def truth_of(flight: SatellitePass, settings: WaveformSettings) -> Callable[[FrameReport], dict[str, Any]]:
    """What is true of a satellite pass when a frame began, for its record."""

    def truth(report: FrameReport) -> dict[str, Any]:
        time_s = report.sample_index / settings.sample_rate
        state = flight.state(time_s)
        return {
            "snr_db": finite(state.snr_db),
            "elevation_deg": finite(state.elevation_deg),
            "doppler_hz": finite(state.doppler_hz),
        }

    return truth


def _symbol_level(source: FrameSource, sink: FrameSink, symbol_channel: SymbolChannel, snr_db: float) -> None:
    import torch

    exact = FrameReport.exact(snr_db)
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
    if samples.satellite_pass is not None:
        sink.truth = truth_of(samples.satellite_pass, settings)
    blocks.loopback(source, sink, samples, settings).run_to_end()


def gnuradio_module() -> Any:
    """The module ``gnuradio.djscc``; FlowgraphError with the remedy when GNU Radio or the module is not there."""
    try:
        return importlib.import_module("gnuradio.djscc")
    except ImportError as error:
        raise FlowgraphError(
            f"gnuradio.djscc cannot be imported ({error}); run `make` in the source tree, or `djscc doctor` to see what is missing"
        ) from error
