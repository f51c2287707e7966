# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples that the front end lost, and said so, become erasures in their place; the frame says what hit it."""

import numpy as np
import pytest
from djscc.waveform import FrameHeader, Modulator, Receiver, WaveformError


def frame(number: int, tiles: int = 16, layers: int = 8) -> tuple[FrameHeader, np.ndarray]:
    generator = np.random.default_rng(number)
    header = FrameHeader(1, 2, number, 0, tiles, (layers,) * tiles, 64, 64, 64, 3, seed=number)
    parts = generator.standard_normal((2, header.payload_symbols)) / np.sqrt(2)
    return header, (parts[0] + 1j * parts[1]).astype(np.complex64)


def noisy(samples: np.ndarray, seed: int = 9) -> np.ndarray:
    """With noise 20 dB below the payload's symbols."""
    parts = np.random.default_rng(seed).standard_normal((2, samples.size)) * np.sqrt(10**-0.9 * 1e-2)
    return (samples + parts[0] + 1j * parts[1]).astype(np.complex64)


@pytest.fixture(scope="module")
def sent():
    modulator = Modulator()
    frames = [frame(i) for i in range(3)]
    return frames, [modulator.modulate(*f) for f in frames], modulator.guard()


@pytest.mark.parametrize("lost", [1, 100, 9000])
def test_a_gap_within_a_frame_erases_what_was_lost_and_no_more(sent, lost):
    frames, samples, guard = sent
    stream = noisy(np.concatenate([*samples, guard]))
    at = samples[0].size + samples[1].size // 2
    receiver = Receiver()
    got = receiver.push(stream[:at]) + receiver.skip(lost) + receiver.push(stream[at + lost :]) + receiver.flush()
    assert [f.header.frame_number for f in got] == [0, 1, 2]
    assert [f.report.overruns for f in got] == [0, 1, 0]
    assert [f.report.lost_samples for f in got] == [0, lost, 0]
    assert receiver.counters.overruns == 1 and receiver.counters.lost_samples == lost
    assert receiver.counters.samples == stream.size - lost
    for f, (header, payload) in zip(got, frames, strict=True):
        error = np.mean(np.abs(f.symbols - payload)[f.received] ** 2)
        assert error < 0.02, header.frame_number
    assert got[0].received.all() and got[2].received.all()
    # lost samples, and at most two blocks of 328 symbols that they hit in part on either side
    assert got[1].report.erased * got[1].received.size < lost / 2 + 5 * 328


def test_a_gap_of_whole_frames_keeps_the_count_of_samples(sent):
    _, samples, guard = sent
    receiver = Receiver()
    lost = 3 << 22
    got = receiver.push(noisy(np.concatenate([samples[0], guard])))
    at = receiver.position
    got += receiver.skip(lost) + receiver.push(noisy(np.concatenate([samples[2], guard]))) + receiver.flush()
    assert [f.header.frame_number for f in got] == [0, 2]
    assert got[1].report.sample_index == pytest.approx(at + lost + 24 * 2, abs=1)
    assert receiver.counters.frames_missed == 1


def test_an_overrun_of_unknown_size_marks_the_frames_that_it_may_have_hit(sent):
    _, samples, guard = sent
    receiver = Receiver()
    at = samples[0].size + 1000
    receiver.overrun(at, at + 2000)
    got = receiver.push(noisy(np.concatenate([*samples, guard])))
    assert [(f.report.overruns, f.report.lost_samples) for f in got] == [(0, 0), (1, 0), (0, 0)]


def test_a_gap_has_a_length():
    with pytest.raises(WaveformError, match="0 samples lost"):
        Receiver().skip(0)


@pytest.mark.parametrize("beyond", [-2000, 2000, 60_000])
def test_a_gap_over_the_end_of_a_frame_is_booked_to_what_it_hit(sent, beyond):
    """Two frames; a gap from within the first to before, or beyond, the beginning of the second."""
    _, samples, guard = sent
    stream = noisy(np.concatenate([samples[0], samples[1], guard]))
    at = samples[0].size * 3 // 4
    lost = samples[0].size - at + beyond
    receiver = Receiver()
    got = receiver.push(stream[:at]) + receiver.skip(lost) + receiver.push(stream[at + lost :]) + receiver.flush()
    first = got[0].report
    assert got[0].header.frame_number == 0 and first.overruns == 1
    assert first.lost_samples == pytest.approx(min(lost, samples[0].size - at), abs=500)
    if len(got) > 1:
        assert got[1].report.lost_samples <= max(beyond, 0)
