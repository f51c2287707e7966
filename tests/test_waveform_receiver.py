# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver as a stream: chunks, frames in any order, losses, and what it reports of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from djscc.waveform import FrameHeader, Modulator, ReceivedFrame, Receiver, WaveformSettings
from djscc.waveform.format import Complex
from djscc.waveform.impairments import noisy, turned
from djscc.waveform.trial import example_header, gaussian

SETTINGS = WaveformSettings()
MODULATOR = Modulator(SETTINGS)


def frame(number: int, tiles: int = 4) -> tuple[FrameHeader, Complex, Complex]:
    header = replace(example_header(tiles), frame_number=number, seed=number)
    payload = gaussian(header.payload_symbols, np.random.default_rng(number))
    return header, payload, MODULATOR.modulate(header, payload)


def silence(symbols: int) -> Complex:
    return np.zeros(2 * symbols, np.complex64)


def over_the_air(*parts: Complex, snr_db: float = 15.0, cfo: float = 0.011, seed: int = 1) -> Complex:
    samples = turned(np.concatenate(parts), cfo / 2)
    return noisy(samples, SETTINGS.mean_power * 2 * 10 ** (-snr_db / 10), np.random.default_rng(seed))


def error_db(received: ReceivedFrame, payload: Complex) -> float:
    good = received.received
    return float(10 * np.log10(np.mean(np.abs(received.symbols - payload)[good] ** 2)))


def same(a: list[ReceivedFrame], b: list[ReceivedFrame]) -> bool:
    return len(a) == len(b) and all(
        x.header == y.header
        and x.report == y.report
        and np.array_equal(x.symbols, y.symbols)
        and np.array_equal(x.noise_variance, y.noise_variance)
        and np.array_equal(x.received, y.received)
        for x, y in zip(a, b, strict=True)
    )


def test_chunking_changes_nothing() -> None:
    _, _, first = frame(1)
    _, _, second = frame(2)
    samples = over_the_air(silence(3000), first, silence(777), second, MODULATOR.guard(), snr_db=-3)
    whole = Receiver(SETTINGS)
    expected = whole.push(samples)
    assert len(expected) == 2
    for size in (1013, 4096, 65537, samples.size // 2):
        receiver = Receiver(SETTINGS)
        got = [f for at in range(0, samples.size, size) for f in receiver.push(samples[at : at + size])]
        assert same(got, expected)
        assert receiver.counters == whole.counters
    rng = np.random.default_rng(2)
    receiver, got, at = Receiver(SETTINGS), [], 0
    while at < samples.size:
        size = int(rng.choice([0, 1, 7, 50, 3000]))
        got += receiver.push(samples[at : at + size])
        at += size
    assert same(got, expected)


def test_guard_delivers_the_last_frame_without_flush() -> None:
    for tiles in (1, 30):
        header, _, samples = frame(1, tiles)
        receiver = Receiver(SETTINGS)
        assert [f.header for f in receiver.push(np.concatenate([samples, MODULATOR.guard()]))] == [header]


def test_flush_delivers_a_frame_that_ends_the_stream() -> None:
    header, payload, samples = frame(1)
    receiver = Receiver(SETTINGS)
    got = receiver.push(over_the_air(samples)) + receiver.flush()
    assert [f.header for f in got] == [header]
    assert error_db(got[0], payload) < -14
    assert receiver.flush() == []


def test_back_to_back_frames_of_all_sizes() -> None:
    frames = [frame(i, tiles) for i, tiles in enumerate([1, 5, 1, 1, 17, 2])]
    receiver = Receiver(SETTINGS)
    got = receiver.push(over_the_air(*(f[2] for f in frames), MODULATOR.guard(), snr_db=5))
    assert [f.header for f in got] == [f[0] for f in frames]
    assert all(error_db(g, f[1]) < -4.3 for g, f in zip(got, frames, strict=True))
    assert receiver.counters.frames_missed == 0


def test_started_late_the_next_frame_is_found() -> None:
    frames = [frame(i, 6) for i in range(3)]
    samples = over_the_air(*(f[2] for f in frames), MODULATOR.guard())
    for start in (1, 700, 2100, 5000, 12000):
        got = Receiver(SETTINGS).push(samples[start:])
        assert [f.header.frame_number for f in got] == ([0, 1, 2] if start < 40 else [1, 2])


def test_missing_frame_is_counted_and_the_next_is_in_its_place() -> None:
    frames = [frame(i) for i in (65534, 65535, 0, 1)]
    receiver = Receiver(SETTINGS)
    got = receiver.push(over_the_air(frames[0][2], silence(9000), frames[3][2], MODULATOR.guard()))
    assert [f.header for f in got] == [frames[0][0], frames[3][0]]
    assert receiver.counters.frames_missed == 2


@pytest.mark.parametrize("kept", [3000, 6000, 9000, 20000, 30000])
@pytest.mark.parametrize("snr_db", [20.0, 0.0])
def test_truncated_frame_and_the_one_after_it(kept: int, snr_db: float) -> None:
    """Of a frame cut off, what came counts and the rest is erased; the next frame, directly after it, is whole."""
    header, payload, first = frame(1, 16)
    after, after_payload, second = frame(2, 4)
    samples = over_the_air(first[:kept], second, MODULATOR.guard(), snr_db=snr_db)
    receiver = Receiver(SETTINGS)
    got = receiver.push(samples) + receiver.flush()  # the receiver waits for as much as the first header announced
    assert got[-1].header == after
    assert error_db(got[-1], after_payload) < -snr_db + 1.5
    if len(got) == 2:
        assert got[0].header == header
        arrived = (kept / 2 - 24 - 1024 - 1300) * 320 / 328 / 16384
        assert 1 - got[0].report.erased <= max(arrived, 0) + 0.002
        assert 1 - got[0].report.erased >= arrived - 0.1
        assert got[0].symbols[~got[0].received].any() == False  # noqa: E712
        assert np.isinf(got[0].noise_variance[~got[0].received]).all()
        assert receiver.counters.truncated == 1
        if got[0].received.any():
            assert error_db(got[0], payload) < -snr_db + 2.5
    else:
        assert kept < 7000


@pytest.mark.parametrize("lost", [1, 2, 17, 364, 3640])
@pytest.mark.parametrize("snr_db", [20.0, 3.0])
def test_lost_samples_are_found_counted_and_erased(lost: int, snr_db: float) -> None:
    header, payload, samples = frame(3, 40)
    at = 41234
    received = over_the_air(silence(500), samples[:at], samples[at + lost :], samples, MODULATOR.guard(), snr_db=snr_db)
    receiver = Receiver(SETTINGS)
    got = receiver.push(received)
    assert [f.header for f in got] == [header, header]
    assert got[0].report.lost_samples == lost
    assert receiver.counters.lost_samples == lost
    assert error_db(got[0], payload) < -snr_db + 0.8
    assert error_db(got[1], payload) < -snr_db + 0.8
    assert 0 < got[0].report.erased < 0.02 + 3 * lost / samples.size


@pytest.mark.parametrize("tiles", [4, 16])
def test_losses_anywhere_in_short_frames_are_found_and_placed(tiles: int) -> None:
    """From behind the header to the last block, of 1 to 2000 samples."""
    header, payload, samples = frame(3, tiles)
    rng = np.random.default_rng(tiles)
    body = 2 * (24 + 1024 + 1312 + 20)
    for lost in rng.choice([1, 2, 5, 17, 100, 364, 2000], 12):
        at = int(rng.integers(body, samples.size - 2 * (64 + 24) - lost - 100))
        air = over_the_air(samples, MODULATOR.guard(), snr_db=20)
        got = Receiver(SETTINGS).push(np.concatenate([air[:at], air[at + lost :]]))
        assert got[0].header == header
        assert got[0].report.lost_samples == lost, at
        good = got[0].received
        assert np.mean((np.abs(got[0].symbols - payload) ** 2 / got[0].noise_variance)[good]) < 1.5, (lost, at)
        assert 1 - good.mean() < (3 * 328 * 2 + 2 * lost) / (samples.size - body)


@pytest.mark.parametrize("lost", [1, 17, 364])
def test_a_loss_within_the_header_spoils_no_estimate(lost: int) -> None:
    """The header's code bridges it; carrier, clock and SNR come from what is before it and after."""
    _, payload, samples = frame(3, 16)
    air = over_the_air(samples, MODULATOR.guard(), snr_db=20)
    at = 2 * (24 + 1024 + 800)
    got = Receiver(SETTINGS).push(np.concatenate([air[:at], air[at + lost :]]))[0]
    assert got.report.lost_samples == lost
    assert error_db(got, payload) < -19
    assert got.report.snr_db > 17
    assert abs(got.report.clock_ppm) < 3 and abs(got.report.cfo_hz - 11000) < 10


@pytest.mark.parametrize("apart", [6000, 9000])
def test_two_losses_close_together(apart: int) -> None:
    _, payload, samples = frame(3, 40)
    air = over_the_air(samples, MODULATOR.guard(), snr_db=20)
    first, second = 34000, 34000 + 2 * apart
    got = Receiver(SETTINGS).push(np.concatenate([air[:first], air[first + 364 : second], air[second + 100 :]]))[0]
    assert got.report.lost_samples == 464
    assert error_db(got, payload) < -18
    assert got.report.erased < 0.04


@pytest.mark.parametrize("snr_db", [20.0, 5.0])
def test_a_blocked_stretch_leaves_the_rest_of_the_frame_as_it_is(snr_db: float) -> None:
    """The signal is gone for a part of the frame, the noise is not: amplified noise there spoils nothing elsewhere."""
    _, payload, samples = frame(3, 40)
    blocked = samples.copy()
    blocked[40000:56000] = 0
    for seed in range(3):
        got = Receiver(SETTINGS).push(over_the_air(blocked, MODULATOR.guard(), snr_db=snr_db, seed=seed))[0]
        good = got.received & (got.noise_variance < 4 * 10 ** (-snr_db / 10))
        assert good.mean() > 0.7
        assert 10 * np.log10(np.mean(np.abs(got.symbols - payload)[good] ** 2)) < -snr_db + 2


def test_a_recording_that_ends_with_a_frame_is_whole() -> None:
    for tiles in (1, 4, 40):
        header, _, samples = frame(1, tiles)
        receiver = Receiver(SETTINGS)
        got = receiver.push(over_the_air(silence(500), samples)) + receiver.flush()
        assert [f.header for f in got] == [header]
        assert got[0].report.erased == 0
        assert receiver.counters.truncated == 0


def test_samples_that_are_no_numbers_are_erased() -> None:
    _, payload, samples = frame(3, 16)
    air = over_the_air(samples, MODULATOR.guard(), snr_db=20)
    air[20000:21000] = np.nan
    receivers = Receiver(SETTINGS), Receiver(SETTINGS)
    got = receivers[0].push(air)
    assert got[0].report.erased > 0.02
    assert got[0].report.lost_samples == got[0].report.overruns == 0
    assert error_db(got[0], payload) < -19
    assert same(got, [f for at in range(0, air.size, 777) for f in receivers[1].push(air[at : at + 777])])


def test_overruns_before_a_frame_are_forgotten() -> None:
    _, _, samples = frame(1)
    receiver = Receiver(SETTINGS)
    for at in range(1000):
        receiver.overrun(at, at + 1)
    got = receiver.push(over_the_air(silence(20000), samples, MODULATOR.guard()))
    assert got[0].report.overruns == 0
    assert receiver.counters.overruns == 1000
    assert receiver._overruns == []


def test_frames_missed_are_counted_over_scenes() -> None:
    """Images of one frame each are numbered by one counter."""
    parts = []
    for number in (0, 3, 5):
        header = replace(example_header(4), frame_number=number, seed=number, scene_id=number)
        parts.append(MODULATOR.modulate(header, gaussian(header.payload_symbols, np.random.default_rng(number))))
    receiver = Receiver(SETTINGS)
    assert len(receiver.push(over_the_air(*parts, MODULATOR.guard()))) == 3
    assert receiver.counters.frames_missed == 3


def test_lost_stretch_is_spread_over_all_tiles() -> None:
    _, _, samples = frame(3, 40)
    received = over_the_air(silence(500), samples[:41234], samples[42234:], MODULATOR.guard())
    got = Receiver(SETTINGS).push(received)[0]
    erased = (~got.received).reshape(40, -1).mean(axis=1)
    assert erased.max() < 1.35 * erased.mean()


def test_signal_lost_and_back_leaves_no_stale_state() -> None:
    """What comes after a gap is received as by a new receiver, but for the count of samples."""
    _, _, first = frame(1)
    _, _, second = frame(2, 7)
    rng = np.random.default_rng(5)
    before = over_the_air(first, silence(40000), cfo=0.05, snr_db=0)
    gap = noisy(silence(20000), 1.0, rng)
    after = over_the_air(silence(1000), 0.01 * second, MODULATOR.guard(), cfo=-0.07, snr_db=60)
    used = Receiver(SETTINGS)
    used.push(np.concatenate([before, gap]))
    used.flush()
    shift = used.counters.samples
    got, fresh = used.push(after), Receiver(SETTINGS).push(after)
    assert len(got) == 1 and got[0].report.time_s == got[0].report.sample_index / SETTINGS.sample_rate
    index = fresh[0].report.sample_index + shift
    moved = [replace(f, report=replace(f.report, sample_index=index, time_s=got[0].report.time_s)) for f in fresh]
    assert same(got, moved)


@pytest.mark.parametrize("level_db", [0.0, -6.0])
@pytest.mark.parametrize("offset", [2000, 9000])
def test_colliding_frames(level_db: float, offset: int) -> None:
    """Two transmitters at once: at least one frame arrives, none is wrong, and the receiver goes on."""
    first_header, _, first = frame(1, 8)
    second_header, _, second = frame(2, 8)
    third_header, _, third = frame(3, 2)
    both = np.concatenate([first, silence(offset)])
    both[2 * offset : 2 * offset + second.size] += turned(second, 0.004) * 10 ** (level_db / 20)
    got = Receiver(SETTINGS).push(over_the_air(both, silence(3000), third, MODULATOR.guard()))
    headers = [f.header for f in got]
    assert set(headers) <= {first_header, second_header, third_header}
    assert headers[-1] == third_header
    assert first_header in headers


@pytest.mark.parametrize("level_db", [-10.0, 0.0])
def test_carrier_interferer(level_db: float) -> None:
    """A tone in the band acts as noise of its power: the frame is found and its noise is told."""
    header, payload, samples = frame(1, 16)
    rms = np.sqrt(SETTINGS.mean_power)
    tone = 10 ** (level_db / 20) * rms * turned(np.ones(samples.size, np.complex64), 0.071)
    got = Receiver(SETTINGS).push(over_the_air(samples + tone, MODULATOR.guard(), snr_db=20))
    assert [f.header for f in got] == [header]
    assert error_db(got[0], payload) < level_db + 4
    assert got[0].report.snr_db == pytest.approx(-error_db(got[0], payload), abs=1.5)


def test_codec_id_passes_unchanged() -> None:
    """Whether the codec is known is not the waveform's to judge: the id arrives for the decoder to refuse."""
    header = replace(example_header(1), codec_id=0xFFFFFFFF)
    samples = MODULATOR.modulate(header, gaussian(1024, np.random.default_rng(1)))
    assert Receiver(SETTINGS).push(np.concatenate([samples, MODULATOR.guard()]))[0].header.codec_id == 0xFFFFFFFF


def test_tiles_of_different_layers_in_one_frame() -> None:
    header = replace(example_header(6), layers=(1, 48, 16, 7, 255, 2), tile_width=200, symbols_per_layer=99, bands=13)
    payload = gaussian(header.payload_symbols, np.random.default_rng(1))
    got = Receiver(SETTINGS).push(over_the_air(MODULATOR.modulate(header, payload), MODULATOR.guard(), snr_db=-6))
    assert got[0].header == header
    assert error_db(got[0], payload) < 6.6


def test_level_does_not_matter() -> None:
    _, payload, samples = frame(1)
    for scale in (1e-6, 1.0, 1e5):
        got = Receiver(SETTINGS).push(over_the_air(samples, MODULATOR.guard()) * np.float32(scale))
        assert error_db(got[0], payload) < -14
        assert got[0].report.gain_db == pytest.approx(20 * np.log10(scale), abs=0.3)


def test_dump_holds_each_stage(tmp_path: Path) -> None:
    _, payload, samples = frame(1)
    Receiver(SETTINGS, dump=tmp_path / "stages").push(over_the_air(samples, MODULATOR.guard()))
    (file,) = (tmp_path / "stages").iterdir()
    with np.load(file, allow_pickle=False) as stages:
        assert stages["symbols"].size == payload.size
        assert {"window_phase_cycles", "window_delay_symbols", "gain", "gain_smooth", "block_noise"} <= set(
            stages.files
        )


def test_recording_replays_as_received(tmp_path: Path) -> None:
    """A file of samples, read back in pieces, gives what the live stream gave."""
    _, _, samples = frame(1)
    live = over_the_air(silence(100), samples, MODULATOR.guard())
    live.tofile(tmp_path / "recording.cf32")
    expected = Receiver(SETTINGS).push(live)
    recorded = np.memmap(tmp_path / "recording.cf32", np.complex64, "r")
    receiver = Receiver(SETTINGS)
    got = [f for at in range(0, recorded.size, 10000) for f in receiver.push(recorded[at : at + 10000])]
    assert len(got) == 1
    assert same(got, expected)


def test_memory_is_bounded() -> None:
    """Four million samples of noise and frames: the buffer stays at that of one frame."""
    _, _, samples = frame(1, 16)
    rng = np.random.default_rng(1)
    chunk = noisy(np.concatenate([samples, silence(50000)]), 0.3, rng)
    receiver = Receiver(SETTINGS)
    sizes = []
    for _ in range(30):
        receiver.push(chunk)
        sizes.append(receiver._buffer._store.size)
    assert receiver.counters.frames == 30
    assert max(sizes) <= 2**18
    assert sizes[-1] == sizes[5]


def test_report_and_counters_are_json() -> None:
    import json

    _, _, samples = frame(1)
    receiver = Receiver(SETTINGS)
    got = receiver.push(np.concatenate([samples, MODULATOR.guard()]))
    assert json.loads(json.dumps(got[0].report.to_dict()))["lost_samples"] == 0
    assert json.loads(json.dumps(receiver.counters.to_dict()))["frames"] == 1


@pytest.mark.parametrize("share", [0.2, 0.4, 0.7, 0.95])
def test_what_lies_beyond_the_end_of_the_stream_is_erased(share):
    """However little of a frame there is, the symbols that were not received are said not to be, within one block of pilots."""
    header = FrameHeader(
        codec_id=1, scene_id=2, frame_number=0, tile_index=0, tiles_total=16, layers=(16,) * 16, symbols_per_layer=64,
        tile_height=64, tile_width=64, bands=3, image_height=0, image_width=0, seed=3,
    )  # fmt: skip
    rng = np.random.default_rng(7)
    payload = (rng.standard_normal((header.payload_symbols, 2)) @ [1, 1j] * np.sqrt(0.5)).astype(np.complex64)
    samples = Modulator().modulate(header, payload)
    receiver = Receiver()
    cut = int(share * samples.size)
    frames = receiver.push(samples[:cut]) + receiver.flush()
    assert len(frames) == 1 and receiver.counters.truncated == 1
    missing = (samples.size - cut) / samples.size
    assert missing - 0.02 < frames[0].report.erased < missing / (1 - 0.16) + 0.05
    got = frames[0].received
    assert np.all(np.isinf(frames[0].noise_variance[~got]))
    assert np.mean(np.abs(frames[0].symbols[got] - payload[got]) ** 2) < 0.01 if got.any() else True
