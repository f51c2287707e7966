# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the receiver against the figures asked of it, into results/waveform.json: python -m djscc.waveform.bench.

Each section is written as soon as it is done; with ``--resume`` those in the file are kept, so that a run can be stopped and
taken up. A full run takes about 15 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from djscc.waveform.format import Complex, WaveformSettings
from djscc.waveform.impairments import PHASE_NOISE_MASK, noisy
from djscc.waveform.modulator import Modulator
from djscc.waveform.receiver import Receiver
from djscc.waveform.trial import Link, Trial, example_header, gaussian, run, working_range

SETTINGS = WaveformSettings()
Result = dict[str, Any]


def _trial(link: Link, tiles: int, rng: np.random.Generator) -> Trial:
    header = example_header(tiles, seed=int(rng.integers(2**16)))
    return run(link, header, gaussian(header.payload_symbols, rng), rng, SETTINGS)


def _static(snr_db: float, rng: np.random.Generator) -> Link:
    """Noise, and what does not vary but for the Doppler rate: offset, clock, delay, phase, all over their ranges."""
    return Link(
        snr_db,
        cfo=rng.uniform(-0.08, 0.08),
        doppler_rate=rng.uniform(-1e4, 1e4),
        clock_ppm=rng.uniform(-50, 50),
        delay=rng.uniform(500, 14000),
        phase=rng.uniform(-np.pi, np.pi),
    )


def _figures(trials: list[Trial]) -> Result:
    """Rates, loss and SNR estimate of trials at one point."""
    whole = [t for t in trials if t.frame is not None]
    found = [t for t in trials if t.detections]
    loss = np.array([t.ideal_db - t.snr_db for t in whole])
    estimate = np.array([t.frame.report.snr_db - t.channel_db for t in whole if t.frame is not None])
    return {
        "frames": len(trials),
        "detected": len(found),
        "header_lost_after_detection": len(found) - len(whole),
        "headers_wrong_but_accepted": sum(t.wrong for t in trials),
        "loss_db_mean": round(float(loss.mean()), 3),
        "loss_db_90th_percentile": round(float(np.quantile(loss, 0.9)), 3),
        "snr_estimate_bias_db": round(float(estimate.mean()), 3),
        "snr_estimate_deviation_db": round(float(estimate.std()), 3),
    }


def overhead(scale: float) -> Result:
    """Share of the air that is not payload, at 1/12 with tiles of 64 x 64 pixels."""
    modulator = Modulator(SETTINGS)
    rng = np.random.default_rng(1)
    shares = {}
    for tiles in (1, 4, 16, 64, 128, 1024):
        header = example_header(tiles)
        shares[str(tiles)] = round(1 - header.payload_symbols / modulator.on_air_symbols(header), 4)
    header = example_header(64)
    samples = modulator.modulate(header, gaussian(header.payload_symbols, rng))
    energy = float(np.sum(np.abs(samples) ** 2))
    payload_energy = header.payload_symbols * SETTINGS.scale**2
    return {
        "share_by_tiles_in_the_frame": shares,
        "default_frame_tiles": 64,
        "energy_share_default_frame": round(1 - payload_energy / energy, 4),
    }


def range_at_random(scale: float) -> Result:
    """Detection and header with the whole working range drawn at random, fading included; Es/N0 is of the mean channel."""
    result: Result = {"tiles": 4, "drawn": "uniform; Rician K 10 to 20 dB, spread 0 to 100 Hz; see trial.working_range"}
    for snr_db in (-8.0, -5.0, 0.0, 10.0):
        rng = np.random.default_rng(int(100 + snr_db))
        count = max(int((1000 if snr_db < 0 else 100) * scale), 4)
        result[f"{snr_db:+.0f} dB"] = _figures([_trial(working_range(snr_db, rng), 4, rng) for _ in range(count)])
    return result


def range_without_fading(scale: float) -> Result:
    """Detection and header in noise, with offset, Doppler rate, clock, delay and phase drawn over their ranges."""
    result: Result = {"tiles": 1}
    for snr_db in (-11.0, -10.0, -8.0, -5.0):
        rng = np.random.default_rng(int(200 + snr_db))
        count = max(int((1000 if snr_db >= -8 else 100) * scale), 4)
        result[f"{snr_db:+.0f} dB"] = _figures([_trial(_static(snr_db, rng), 1, rng) for _ in range(count)])
    return result


def loss(scale: float) -> Result:
    """Loss and SNR estimate of the default frame in noise, with offset, Doppler rate, clock, delay and phase drawn."""
    result: Result = {"tiles": 64}
    for snr_db in (-8.0, -5.0, -2.0, 0.0, 5.0, 10.0, 15.0, 20.0, 25.0):
        rng = np.random.default_rng(int(300 + snr_db))
        count = max(int((100 if snr_db < 0 else 30) * scale), 4)
        result[f"{snr_db:+.0f} dB"] = _figures([_trial(_static(snr_db, rng), 64, rng) for _ in range(count)])
    return result


def impairments(scale: float) -> Result:
    """Loss of the default frame by each impairment alone, and by all together."""
    cases: dict[str, dict[str, Any]] = {
        "phase noise": {"noisy_phase": True},
        "Rician K 10 dB, 100 Hz": {"k_db": 10.0, "spread_hz": 100.0},
        "Rician K 10 dB, 10 Hz": {"k_db": 10.0, "spread_hz": 10.0},
        "clock 50 ppm": {"clock_ppm": 50.0},
        "Doppler rate 10 kHz/s": {"doppler_rate": 1e4},
        "DC -30 dB": {"dc": 0.03, "bits": 16},
        "image -35 dB": {"image_db": -35.0, "bits": 16},
        "12 bits": {"bits": 12},
    }
    result: Result = {"tiles": 64, "phase_noise_mask_dbc_per_hz": PHASE_NOISE_MASK}
    count = max(int(10 * scale), 2)
    for name, values in cases.items():
        result[name] = {}
        for snr_db in (-8.0, 0.0, 20.0):
            rng = np.random.default_rng(int(400 + snr_db))
            trials = [_trial(Link(snr_db, cfo=0.021, **values), 64, rng) for _ in range(count)]
            result[name][f"{snr_db:+.0f} dB"] = _figures(trials)["loss_db_mean"]
    result["all"] = {}
    for snr_db in (-8.0, 0.0, 20.0):
        rng = np.random.default_rng(int(500 + snr_db))
        trials = [_trial(working_range(snr_db, rng), 64, rng) for _ in range(2 * count)]
        result["all"][f"{snr_db:+.0f} dB"] = _figures(trials)["loss_db_mean"]
    return result


def psnr(scale: float) -> Result:
    """Loss in PSNR of decoded tiles against an ideal receiver of the same noise (needs the codec, and so torch)."""
    from djscc import DATA
    from djscc.codec import load_codec
    from djscc.imagery import load_tiles

    codec = load_codec("adaptive")
    tiles = load_tiles(DATA / "landsat").images[:64]
    layers = codec.layers_for_ratio(1 / 12)
    symbols = codec.encode(tiles, layers)
    count, height, width = tiles.shape[:3]
    header = example_header(count, layers=layers)
    result: Result = {"codec": codec.name, "ratio": "1/12", "tiles": int(count)}
    if symbols.shape[1] != layers * header.symbols_per_layer:
        header = type(header).from_dict(
            {
                **header.to_dict(),
                "symbols_per_layer": symbols.shape[1] // layers,
                "tile_height": height,
                "tile_width": width,
            }
        )
    for snr_db in (-8.0, -5.0, 0.0, 10.0, 20.0):
        rng = np.random.default_rng(int(600 + snr_db))
        lost = []
        for _ in range(max(int(4 * scale), 1)):
            trial = run(_static(snr_db, rng), header, symbols.reshape(-1), rng, SETTINGS)
            if trial.frame is None:
                continue
            shape = symbols.shape
            known = np.full(shape, 10 ** (-snr_db / 10), np.float32)
            ideal = codec.decode(trial.ideal.reshape(shape), known, np.ones(shape, bool), height, width)
            frame = trial.frame
            got = codec.decode(
                frame.symbols.reshape(shape),
                frame.noise_variance.reshape(shape),
                frame.received.reshape(shape),
                height,
                width,
            )
            lost.append(float(np.mean(_psnr_db(tiles, ideal) - _psnr_db(tiles, got))))
        result[f"{snr_db:+.0f} dB"] = {"frames": len(lost), "psnr_loss_db_mean": round(float(np.mean(lost)), 3)}
    return result


def _psnr_db(sent: np.ndarray[Any, Any], received: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    error = np.mean((sent.astype(np.float64) - received) ** 2, axis=(1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1e-9))


def false_alarms(scale: float) -> Result:
    """Preambles found in noise alone, and the memory that so many samples take."""
    rng = np.random.default_rng(7)
    receiver = Receiver(SETTINGS)
    size, samples = 1 << 20, int(1e9 * scale)
    before, most = 0, 0
    while receiver.counters.samples < samples:
        receiver.push(noisy(np.zeros(size, np.complex64), 1.0, rng))
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        before = before or resident
        most = resident
    return {
        "samples": receiver.counters.samples,
        "false_alarms": receiver.counters.detections,
        "resident_mib_after_first_million": before,
        "resident_mib_after_all": most,
    }


def _default_stream(frames: int, snr_db: float) -> Complex:
    header = example_header(64)
    rng = np.random.default_rng(8)
    modulator = Modulator(SETTINGS)
    one = modulator.modulate(header, gaussian(header.payload_symbols, rng))
    variance = SETTINGS.mean_power * SETTINGS.samples_per_symbol * 10 ** (-snr_db / 10)
    return noisy(np.tile(one, frames), variance, rng)


def throughput(scale: float) -> Result:
    """Symbols a second on one core: this receiver in frames and in noise, and GNU Radio's chain on the same samples."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    frames = max(int(30 * scale), 4)
    sps = SETTINGS.samples_per_symbol
    strong = _default_stream(frames, 10.0)
    streams = {
        "frames at 10 dB": strong,
        "frames at -5 dB": _default_stream(frames, -5.0),
        "noise": noisy(np.zeros(strong.size, np.complex64), 1.0, np.random.default_rng(9)),
    }
    result: Result = {
        "unit": "million symbols a second; per CPU second is free of what else the machine was doing",
        "samples_per_symbol": sps,
        "samples": int(strong.size),
    }
    for name, stream in streams.items():
        receiver = Receiver(SETTINGS)
        receiver.push(stream[:300000])
        began, cpu = time.perf_counter(), time.process_time()
        for at in range(300000, stream.size, 8192):
            receiver.push(stream[at : at + 8192])
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        million = (stream.size - 300000) / sps / 1e6
        result[name] = {"per_wall_second": round(million / wall, 2), "per_cpu_second": round(million / cpu, 2)}
    result["GNU Radio: RRC filter + symbol_sync_cc + linear_equalizer"] = _gnuradio(strong)
    return result


def _gnuradio(samples: Complex) -> Result:
    """GNU Radio's RRC filter, symbol_sync_cc (Gardner) and linear_equalizer on the same samples."""
    try:
        from gnuradio import blocks, digital, filter, gr
        from gnuradio.filter import firdes
    except ImportError as error:
        return {"not_measured": str(error)}
    sps = SETTINGS.samples_per_symbol
    top = gr.top_block()
    source = blocks.vector_source_c(samples[: 4 * 10**6].tolist(), False)
    taps = firdes.root_raised_cosine(1.0, sps, 1.0, SETTINGS.roll_off, 32 * sps + 1)
    matched = filter.fir_filter_ccf(1, taps)
    sync = digital.symbol_sync_cc(
        digital.TED_GARDNER, sps, 0.0045, 1.0, 1.0, 1.5, 1, digital.constellation_qpsk().base(), digital.IR_MMSE_8TAP
    )
    constellation = digital.constellation_qpsk().base()
    algorithm = digital.adaptive_algorithm_lms(constellation, 0.01).base()
    equaliser = digital.linear_equalizer(11, 1, algorithm, True, [], "")
    sink = blocks.null_sink(gr.sizeof_gr_complex)
    top.connect(source, matched, sync, equaliser, sink)
    began, cpu = time.perf_counter(), time.process_time()
    top.run()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    million = min(samples.size, 4 * 10**6) / sps / 1e6
    return {
        "version": gr.version(),
        "per_wall_second": round(million / wall, 2),
        "per_cpu_second": round(million / cpu, 2),
    }


SECTIONS: dict[str, Callable[[float], Result]] = {
    "overhead": overhead,
    "throughput": throughput,
    "loss": loss,
    "impairments": impairments,
    "range_at_random": range_at_random,
    "range_without_fading": range_without_fading,
    "psnr": psnr,
    "false_alarms": false_alarms,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the sections asked for; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m djscc.waveform.bench",
        description="Measure the waveform's receiver. Example: python -m djscc.waveform.bench loss --scale 0.1 --out /tmp/w.json",
    )
    parser.add_argument("section", nargs="*", help=f"sections to run, of {', '.join(SECTIONS)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the frames and samples of a full run")
    parser.add_argument("--out", type=Path, default=Path("results/waveform.json"), help="file to write")
    parser.add_argument("--resume", action="store_true", help="keep the sections that the file has already")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.section if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {', '.join(unknown)}: choose of {', '.join(SECTIONS)}")
    results: Result = json.loads(options.out.read_text()) if options.out.exists() else {}
    results["command"] = "python -m djscc.waveform.bench"
    results.setdefault("sections", {})
    for name in options.section or SECTIONS:
        if name in results["sections"] and options.resume:
            print(f"{name}: already in {options.out}", file=sys.stderr)
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        began = time.perf_counter()
        figures = SECTIONS[name](options.scale)
        results["sections"][name] = {
            "what": " ".join((SECTIONS[name].__doc__ or "").split()),
            "scale": options.scale,
            "seconds": round(time.perf_counter() - began, 1),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            **figures,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        partial = options.out.with_suffix(".part")
        partial.write_text(json.dumps(results, indent=1) + "\n")
        partial.replace(options.out)
        print(json.dumps(figures), file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
