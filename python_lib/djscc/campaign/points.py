# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one point of a campaign, at symbol level or as a GNU Radio flowgraph; both give the same records."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from djscc.cache import BoundedCache
from djscc.campaign.collected import Collected
from djscc.campaign.plan import Plan, PlanError, Point
from djscc.campaign.reception import FrameSink, finite
from djscc.campaign.runlog import RunLog
from djscc.campaign.sender import FrameSource
from djscc.channels import ChannelDescription, load_channel
from djscc.codec import Codec, load_codec
from djscc.errors import DjsccError
from djscc.imagery import TileSet
from djscc.waveform import FrameHeader, FrameReport, ReceivedFrame, WaveformSettings

if TYPE_CHECKING:
    from djscc.channels.satellite_pass import SatellitePass
    from djscc.tasks import Task


_payloads: BoundedCache[NDArray[np.complex64]] = BoundedCache(128 << 20, lambda payload: payload.nbytes)


class FlowgraphError(DjsccError):
    """The GNU Radio flowgraph cannot run, or ended with an error."""


@cache
def codec_of(name: str, decoder: str | None) -> Codec:
    """A codec, loaded and checked once in a process however many points use it."""
    return load_codec(name, decoder)


def tasks_of(plan: Plan) -> list[Task]:
    """The tasks of a plan, each loaded and checked once in a process."""
    if not plan.tasks:
        return []
    from djscc.tasks import load_tasks

    return load_tasks(plan.tasks)


def channel_of(plan: Plan, point: Point) -> ChannelDescription:
    """The channel of a point: the named one, with the plan's impairments and the point's Es/N0."""
    channel = load_channel(point.channel).replace(**plan.impairments)
    if point.snr_db is None and (channel.link is None or plan.level == "symbols"):
        raise PlanError(f"channel {channel.name} has no link budget that tells the Es/N0; give --snr")
    return channel if point.snr_db is None else channel.replace(snr_db=point.snr_db)


def run_point(
    plan: Plan,
    point: Point,
    tiles: TileSet,
    log: RunLog | Collected | None = None,
    *,
    frames: Iterable[int] | None = None,
    channel: ChannelDescription | None = None,
    scene: int | None = None,
) -> list[dict[str, Any]]:
    """Send tiles over one point; returns the record of each frame, lost ones too. They are in ``log`` by then.

    Args:
        frames: which of the point's frames, at symbol level; None sends all. What a frame meets depends on the point and on its
            number alone.
        channel: the point's channel, where it is at hand already.
        scene: scene id of the tiles, where it is known already.
    """
    codec = codec_of(point.codec, plan.decoder)
    source = FrameSource(
        tiles,
        codec,
        codec.layers_for_ratio(point.ratio),
        told_snr_db=point.snr_db if plan.told else None,
        tiles_per_frame=plan.tiles_per_frame,
        by_content=plan.by_content,
        repeat=plan.repeat,
        scene=scene,
    )
    settings = WaveformSettings(symbol_rate=plan.symbol_rate)
    identity = {
        "point": point.key,
        "channel": point.channel,
        "codec": codec.name,
        "snr_db": point.snr_db,
        "seed": point.seed,
    }
    if plan.by_content:  # its frames differ by a few symbols, and are of one point all the same
        identity["ratio"] = codec.ratio(source.layers)
    sink = FrameSink(
        [codec],
        tiles,
        log,
        identity,
        plan.pictures,
        plan.metrics,
        settings,
        reference_id=source.scene_id,
        tasks=tasks_of(plan),
    )
    if plan.repeat > 1:  # each time its own pictures, a few
        sink.pictures, sink.folder_a_frame = min(plan.pictures, 4), True
    channel = channel or channel_of(plan, point)
    if plan.level == "symbols":
        wanted = range(len(source)) if frames is None else frames
        _symbol_level(source, sink, channel, plan, point, wanted)
        return list(sink.records)
    sink.number_of = FrameCounter()
    _flowgraph(source, sink, channel, settings, point.seed)
    arrived = {record["frame_number"] for record in sink.records}
    if channel.orbit is not None:  # over a pass each frame has an SNR of its own, which only those that came tell
        sink.point["snr_db"] = None
    for index in range(len(source)):
        if index not in arrived:
            sink.number_of = lambda _header, number=index: number  # type: ignore[misc]
            sink.lost(source.header(index))
    return list(sink.records)


class FrameCounter:
    """Frame numbers beyond 2^16, where those in the headers begin again: the number nearest to that of the frame before."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self, header: FrameHeader) -> int:
        step = (header.frame_number - self._last + 0x8000) % 0x10000 - 0x8000
        self._last = self._last + step if self._last + step >= 0 else header.frame_number
        return self._last


def frame_seed(point: Point, index: int) -> int:
    """The seed of all that befalls one frame: the same whichever worker sends it, in whatever order."""
    return int.from_bytes(hashlib.blake2b(f"{point.key} {index}".encode(), digest_size=7).digest(), "big")


def truth_of(flight: SatellitePass) -> Callable[[FrameReport], dict[str, Any]]:
    """What is true of a satellite pass when a frame began, for its record."""

    def truth(report: FrameReport) -> dict[str, Any]:
        state = flight.state(report.time_s)
        return {
            "snr_db": finite(state.snr_db),
            "elevation_deg": finite(state.elevation_deg),
            "doppler_hz": finite(state.doppler_hz),
        }

    return truth


def _symbol_level(
    source: FrameSource, sink: FrameSink, channel: ChannelDescription, plan: Plan, point: Point, frames: Iterable[int]
) -> None:
    import torch

    from djscc.channels import SymbolChannel

    snr_db = point.snr_db
    assert snr_db is not None  # channel_of saw to it
    exact = FrameReport.exact(snr_db)
    for index in frames:
        header = source.header(index)
        key = (header.codec_id, source.scene_id, header.tile_index, header.layers, source.told_snr_db)
        payload = _payloads.get(key, partial(source.payload, header))
        sink.number_of = lambda _header, number=index: number  # type: ignore[misc]
        symbol_channel = SymbolChannel(channel, frame_seed(point, index), symbol_rate=plan.symbol_rate)
        lengths = np.array(header.layers) * header.symbols_per_layer
        starts = np.cumsum(lengths) - lengths
        symbols, variance = np.empty_like(payload), np.empty(len(payload), np.float32)
        for length in np.unique(lengths):  # tiles of one length at once, each with a fade of its own
            places = starts[lengths == length, None] + np.arange(length)
            sent = torch.view_as_real(torch.from_numpy(payload[places]))
            arrived, noise = symbol_channel(sent, torch.full((len(places),), snr_db))
            symbols[places] = torch.view_as_complex(arrived.contiguous()).numpy()
            variance[places] = noise.numpy()
        sink.accept(ReceivedFrame(header, symbols, variance, np.ones(len(symbols), dtype=bool), exact))


def _flowgraph(
    source: FrameSource, sink: FrameSink, channel: ChannelDescription, settings: WaveformSettings, seed: int
) -> None:
    blocks = gnuradio_module()
    from djscc.channels import SampleChannel

    samples = SampleChannel(channel, settings.sample_rate, settings.samples_per_symbol, settings.mean_power, seed)
    if samples.satellite_pass is not None:
        sink.truth = truth_of(samples.satellite_pass)
    blocks.loopback(source, sink, samples, settings).run_to_end()


def gnuradio_module() -> Any:
    """The module ``gnuradio.djscc``; FlowgraphError with the remedy when GNU Radio or the module is not there."""
    try:
        return importlib.import_module("gnuradio.djscc")
    except ImportError as error:
        raise FlowgraphError(
            f"gnuradio.djscc cannot be imported ({error}); run `make` in the source tree, or `djscc doctor` to see what is missing"
        ) from error
