# SPDX-License-Identifier: GPL-3.0-or-later
"""``djscc transmit`` and ``djscc receive``: images to a stream of complex samples, and back into a run folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from djscc.cli import options
from djscc.errors import DjsccError

CHUNK = 1 << 20  # samples read at once


class StreamError(DjsccError):
    """A source or sink of samples that cannot be used."""


def add_commands(commands: Any) -> None:
    transmit = options.command(
        commands,
        "transmit",
        run_transmit,
        "encode and modulate images to a file of complex samples",
        "The samples are interleaved float32 I and Q (cf32_le).",
        "djscc transmit image.png --sink file:image.cf32 --ratio 1/12",
    )
    transmit.add_argument("images", nargs="+", metavar="IMAGE", help="image files of any size")
    transmit.add_argument("--sink", required=True, metavar="file:F", help="where the samples go")
    transmit.add_argument("--ratio", type=options.ratio, default=1 / 12, help="k/n (default: 1/12)")
    transmit.add_argument(
        "--told-snr", type=options.decibels, metavar="DB", help="the Es/N0 that the encoder may reckon with"
    )
    transmit.add_argument(
        "--tiles-per-frame", type=options.count, default=64, metavar="N", help="tiles in one frame (default: 64)"
    )
    transmit.add_argument("--by-content", action="store_true", help="give busy tiles more symbols than flat ones")
    options.add_codec(transmit, decoder=False)

    receive = options.command(
        commands,
        "receive",
        run_receive,
        "find, correct and decode every frame in a file of complex samples",
        "Writes a run folder: frames.jsonl, tiles, and whole images. Nothing about the transmitter need be known.",
        "djscc receive --source file:image.cf32 --run runs/received",
    )
    receive.add_argument("--source", required=True, metavar="file:F", help="where the samples come from")
    receive.add_argument("--run", dest="run_folder", required=True, metavar="DIR", help="run folder")
    receive.add_argument(
        "--decoder", metavar="NAME", help="which of the codec's decoders (default: its first, the strongest)"
    )
    receive.add_argument("--frames", type=options.count, metavar="N", help="end after N frames")
    for parser in (transmit, receive):
        parser.add_argument(
            "--symbol-rate", type=options.number, default=1e6, metavar="HZ", help="symbols per second (default: 1e6)"
        )
        parser.add_argument(
            "--samples-per-symbol", type=options.count, default=2, metavar="N", help="samples per symbol (default: 2)"
        )
        options.add_json(parser)


def _file_of(text: str, option: str) -> Path:
    kind, _, rest = text.partition(":")
    if kind != "file" or not rest:
        raise StreamError(f"{option} {text!r} is unknown; give file:NAME, a file of complex float32 samples")
    return Path(rest)


def run_transmit(arguments: argparse.Namespace) -> int:
    from djscc.campaign.sender import FrameSource
    from djscc.codec import load_codec
    from djscc.imagery import TileSet, cut, load_image
    from djscc.waveform import Modulator

    path = _file_of(arguments.sink, "--sink")
    codec = load_codec(arguments.codec)
    layers = codec.layers_for_ratio(arguments.ratio)
    images = [load_image(name) for name in arguments.images]  # all of them before anything is sent
    modulator = Modulator(_settings(arguments))
    frames = written = 0
    try:
        with path.open("wb") as file:
            for name, image in zip(arguments.images, images, strict=True):
                pieces = cut(image, 64)
                tiles = TileSet(pieces, tuple(f"{Path(name).name}#{i}" for i in range(len(pieces))))
                size = (image.shape[0], image.shape[1])
                source = FrameSource(
                    tiles,
                    codec,
                    layers,
                    arguments.told_snr,
                    arguments.tiles_per_frame,
                    size,
                    frames,
                    arguments.by_content,
                )
                for header, payload in source:
                    samples = modulator.modulate(header, payload)
                    file.write(samples.astype("<c8").tobytes())
                    written += len(samples)
                frames += len(source)
            guard = modulator.guard()
            file.write(guard.astype("<c8").tobytes())
            written += len(guard)
    except OSError as error:
        raise StreamError(f"--sink {path}: cannot be written ({error.strerror}); choose another file") from error
    result = {"images": len(images), "frames_sent": frames, "samples": written, "codec_id": f"{codec.id:08x}"}
    options.write_json(arguments.json, result)
    print(f"{len(images)} images in {frames} frames, {written} samples, {path}")
    return 0


def run_receive(arguments: argparse.Namespace) -> int:
    from djscc.campaign.reception import FrameSink
    from djscc.campaign.runlog import RunLog
    from djscc.campaign.summary import sum_up
    from djscc.waveform import Receiver

    path = _file_of(arguments.source, "--source")
    chunks = _read_samples(path)
    settings = _settings(arguments)
    log = RunLog(arguments.run_folder)
    if log.frames.exists():
        raise StreamError(f"{log.folder}: holds a run already; give another --run folder")
    log.start({"source": arguments.source, "decoder": arguments.decoder, "waveform": settings.to_dict()})
    sink = FrameSink(log=log, pictures=1 << 24, settings=settings, decoder=arguments.decoder)
    receiver = Receiver(settings)
    problem: DjsccError | None = None
    try:
        while problem is None:
            try:
                samples = next(chunks, None)
            except DjsccError as error:  # what was read before it still counts
                problem, samples = error, None
            frames = receiver.flush() if samples is None else receiver.push(samples)
            for frame in frames:
                record = sink.accept(frame)
                print(_line(record, len(frame.header.layers)))
                if arguments.frames is not None and len(sink.records) >= arguments.frames:
                    samples = None
                    break
            if samples is None:
                break
    finally:
        sink.close()
    pictures = sorted(str(path) for path in (log.folder / "received").glob("*.png"))
    total = sum_up(sink.records)
    options.write_json(
        arguments.json,
        {
            "frames_received": len(sink.records),
            "tiles_received": sum(tile.get("erased", 1) < 1 for record in sink.records for tile in record["tiles"]),
            "ratio": total["ratio"],
            "on_air_ratio": total["on_air_ratio"],
            "snr_est_db": total["snr_est_db"],
            "pictures": pictures,
            "counters": receiver.counters.to_dict(),
        },
    )
    for picture in pictures:
        print(picture)
    if problem is not None:
        raise problem
    if refused := [r["refused"] for r in sink.records if "refused" in r]:
        raise StreamError(refused[0])
    if not sink.records:
        raise StreamError(
            f"{path}: no frame found; check --symbol-rate and --samples-per-symbol, and that it holds cf32 samples"
        )
    if receiver.counters.truncated and sink.records[-1]["erased"] > 0:
        last = sink.records[-1]
        raise StreamError(
            f"{path}: truncated recording: it ends inside frame {last['frame_number']}, {100 * last['erased']:.0f} % of whose "
            "symbols are missing and taken as erased; all else was received"
        )
    return 0


def _line(record: dict[str, Any], tiles: int) -> str:
    return (
        f"frame {record['frame_number']}: {tiles} tiles, Es/N0 {_rounded(record['snr_est_db'])} dB, "
        f"CFO {_rounded(record['cfo_hz'])} Hz, "
        f"{100 * record['erased']:.1f} % erased" + (f", refused: {record['refused']}" if "refused" in record else "")
    )


def _rounded(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def _settings(arguments: argparse.Namespace) -> Any:
    from djscc.waveform import WaveformSettings

    return WaveformSettings(symbol_rate=arguments.symbol_rate, samples_per_symbol=arguments.samples_per_symbol)


def _read_samples(path: Path) -> Iterator[NDArray[np.complex64]]:
    """Chunks of samples; a file that cannot be opened is refused at once, not with the first chunk."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise StreamError(f"--source {path}: cannot be read ({error.strerror}); check the path") from error
    return _chunks(path, file)


def _chunks(path: Path, file: BinaryIO) -> Iterator[NDArray[np.complex64]]:
    with file:
        while data := file.read(8 * CHUNK):
            whole = len(data) // 8 * 8
            yield np.frombuffer(data[:whole], dtype="<c8")
            if whole != len(data):
                raise StreamError(
                    f"{path}: truncated recording: it ends within a sample ({len(data) - whole} of 8 bytes); "
                    "all before it was taken"
                )
