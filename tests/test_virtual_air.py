# SPDX-License-Identifier: GPL-3.0-or-later
"""The air between virtual radios, moved on by hand: levels, tuning, clocks, delays, echoes, queues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from djscc.channels import load_channel
from djscc.virtual_radio import Air, AirSettings, RadioSettings, VirtualRadioError, load_air
from djscc.virtual_radio.path import echo_taps
from djscc.virtual_radio.radio import OutOfRangeError
from djscc.virtual_radio.streams import ReceiveStream, TransmitStream
from djscc.waveform import WaveformSettings
from numpy.typing import NDArray
from virtual_radio_support import burst, frequency_of, received

RATE = 1e6
QUIET = {"noise_figure_db": -100.0, "bits": 16}


def heard(
    samples: NDArray[np.complex64],
    radios: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
    receive_rate: float = RATE,
    offset: float = 0.0,
    **settings: Any,
) -> NDArray[np.complex64]:
    """What the second radio hears of what the first sends at 0 dB of attenuation, level for level."""
    air = Air(
        AirSettings(
            radios=tuple(RadioSettings(kind="usrp", **(QUIET | radio)) for radio in radios), path_loss_db=60, **settings
        )
    )
    sender, listener = air.radios[0].transmitter, air.radios[1].receiver
    sender.set_rate(RATE)
    sender.set_frequency(1e9 + offset)
    listener.set_rate(receive_rate)
    listener.set_frequency(1e9)
    sender.set_gain(75.75)  # full scale leaves with -4 dBm
    listener.gain = (
        listener.settings.model.receive_gain.high + listener.settings.model.receive_dbm + 64
    )  # -64 dBm fills it
    sender.stream = TransmitStream(10**9)
    sender.stream.put(samples)
    listener.stream = ReceiveStream(10**9)
    while air.time < len(samples) / RATE:
        air.step(air.time + 0.0073)
    words = np.frombuffer(listener.stream.read(listener.stream.waiting), np.int16)
    return (words.astype(np.float32) / 32768).view(np.complex64)


def tone(frequency: float, count: int = 200_000, amplitude: float = 0.5) -> NDArray[np.complex64]:
    return (amplitude * np.exp(2j * np.pi * frequency / RATE * np.arange(count))).astype(np.complex64)


def power_db(samples: NDArray[np.complex64]) -> float:
    return float(10 * np.log10(np.mean(np.abs(samples) ** 2) + 1e-20))


def test_a_tone_keeps_its_level_and_takes_both_oscillators_errors() -> None:
    came = heard(tone(50e3), ({"lo_ppm": 20.0, "clock_ppm": 10.0}, {"lo_ppm": 5.0, "clock_ppm": -10.0}))[20_000:180_000]
    assert power_db(came) == pytest.approx(-6.02, abs=0.1)
    assert frequency_of(came, RATE) == pytest.approx((50e3 * (1 + 20e-6)) + 15e3, abs=0.3)


@pytest.mark.parametrize(
    ("offset", "expected"), [(0.0, 100e3), (200e3, 300e3), (-550e3, -450e3), (700e3, None), (5e6, None)]
)
def test_a_receiver_hears_what_it_is_tuned_to(offset: float, expected: float | None) -> None:
    came = heard(tone(100e3), offset=offset)[20_000:180_000]
    if expected is None:
        assert power_db(came) < -75
    else:
        assert power_db(came) == pytest.approx(-6.02, abs=0.3)
        assert frequency_of(came, RATE) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("receive_rate", [250e3, 2e6])
def test_sample_rates_may_differ(receive_rate: float) -> None:
    came = heard(tone(60e3) + tone(-330e3), receive_rate=receive_rate)
    came = came[len(came) // 4 : len(came) * 3 // 4]
    assert power_db(came) == pytest.approx(-6.02 if receive_rate < 660e3 else -3.01, abs=0.3)


def test_frames_come_through_with_the_clocks_that_were_set() -> None:
    settings = WaveformSettings(RATE / 2, 2)
    samples, payloads = burst(settings)
    came = heard(samples, ({"lo_ppm": 20.0, "clock_ppm": 20.0}, {}), delay_s=0.00123)
    frames = received(came, settings)
    assert len(frames) == 2
    for frame, payload in zip(frames, payloads, strict=True):
        assert frame.report.cfo_hz == pytest.approx(20e3, abs=2)
        assert frame.report.clock_ppm == pytest.approx(20, abs=1)
        error = np.mean(np.abs(frame.symbols - payload) ** 2)
        assert error < 10**-2.5
    silence = 20_000 + 1230
    assert frames[0].report.sample_index == pytest.approx(silence, abs=200)


def test_noise_has_the_density_of_its_figure() -> None:
    radios = ({}, {"noise_figure_db": 30.0})
    came = heard(np.zeros(200_000, np.complex64), radios)
    assert power_db(came) == pytest.approx(-174 + 30 + 60 + 64, abs=0.1)  # 200,000 draws: deviation 0.01 dB


def test_esn0_is_what_was_asked_for() -> None:
    settings = WaveformSettings(RATE / 2, 2)
    radios = (RadioSettings(kind="usrp"), RadioSettings(kind="usrp", noise_figure_db=37.0))
    air = AirSettings(radios=radios, path_loss_db=60)
    assert air.esn0_db(RATE / 2, -9.0, 75.75) == pytest.approx(7, abs=0.02)
    assert air.for_esn0(3.0, RATE / 2, -9.0).esn0_db(RATE / 2, -9.0) == pytest.approx(3)
    samples, _ = burst(settings, frames=3)
    frames = received(heard(samples, ({}, {"noise_figure_db": 37.0})), settings)
    assert len(frames) == 3
    assert np.mean([frame.report.snr_db for frame in frames]) == pytest.approx(7, abs=0.3)


def test_an_echo_adds_up_with_the_direct_path() -> None:
    came = heard(tone(0, amplitude=0.4), echoes=((10.3e-6, -6.0, 180.0),))[20_000:180_000]
    assert power_db(came) == pytest.approx(20 * np.log10(0.4 * (1 - 10**-0.3)), abs=0.1)
    taps = echo_taps(((2.3e-6, 0.0, 0.0),), RATE)
    taps[12] -= 1  # the direct path
    assert (np.sum(np.arange(len(taps)) * taps) / taps.sum()).real == pytest.approx(12 + 2.3, abs=0.01)


def test_fading_of_a_described_channel() -> None:
    with pytest.raises(VirtualRadioError, match="orbit"):
        load_air({"channel": "leo-600km-x-band"})
    came = heard(tone(0, 400_000), channel=load_channel({"fading": {"model": "rician", "k_db": 3, "doppler_hz": 200}}))
    assert np.std(np.abs(came[20_000:380_000])) > 0.05


def test_what_is_too_strong_is_clipped_and_counted() -> None:
    came = heard(tone(1e3, 50_000, 1.0) * 2)[20_000:40_000]
    assert np.abs(came.real).max() <= 1.0
    assert np.mean(np.abs(came.real) > 0.99) > 0.5


def test_bursts_start_on_time_or_not_at_all() -> None:
    stream = TransmitStream(10_000)
    ones = np.ones(100, np.complex64)
    stream.put(ones, start=150, end=True)
    stream.put(ones, start=120, end=True)
    first = stream.pull(200, 0)
    assert first is not None
    assert np.flatnonzero(first)[0] == 150
    second = stream.pull(200, 200)
    assert second is not None
    assert np.count_nonzero(second) == 50
    assert [event.kind for event in stream.events] == ["sent", "late"]
    assert stream.late == 1
    assert stream.waiting == 0


def test_a_transmitter_that_runs_dry_says_so_once_a_gap() -> None:
    stream = TransmitStream(10_000)
    stream.put(np.ones(100, np.complex64))
    for index in range(0, 600, 200):
        stream.pull(200, index)
    assert stream.underruns == 1
    assert stream.underrun_samples == 500
    stream.put(np.ones(100, np.complex64), end=True)
    stream.pull(200, 600)
    stream.pull(200, 800)
    assert stream.underruns == 1


def test_a_reader_that_is_late_loses_whole_stretches() -> None:
    stream = ReceiveStream(1000, refill=400)
    words = np.zeros((100, 2), np.int16)
    for index in range(0, 1500, 100):
        stream.put(index, words)
    assert (stream.overruns, stream.lost_samples) == (1, 500)
    stream.read(300)
    stream.put(1500, words)
    assert stream.lost_samples == 600
    stream.read(300)
    stream.put(1600, words)
    blocks = [stream.take(10_000) for _ in range(5)]
    assert [block.index for block in blocks if block is not None] == [600, 700, 800, 900, 1600]
    assert [block.after_loss for block in blocks if block is not None] == [False] * 4 + [True]


def test_values_out_of_range_are_refused_by_name() -> None:
    radio = Air(AirSettings()).radios[0]
    with pytest.raises(OutOfRangeError, match=r"7e\+09 Hz.*325000000"):
        radio.receiver.set_frequency(7e9)
    with pytest.raises(OutOfRangeError, match="5 dB"):
        radio.transmitter.set_gain(5)
    with pytest.raises(OutOfRangeError):
        radio.receiver.set_rate(float("nan"))


@pytest.mark.parametrize(
    ("mapping", "word"),
    [
        ({"radios": []}, "radios"),
        ({"radios": [{"address": "192.168.2.1"}]}, "loopback"),
        ({"radios": [{"address": "::1"}]}, "loopback"),
        ({"radios": [{}, {"address": "127.0.0.1"}]}, "address of its own"),
        ({"clock": "slow"}, "clock"),
        ({"path_loss": 3}, "path_loss_db"),
        ({"radios": [{"lo_ppm": 1e6}]}, "200 ppm"),
    ],
)
def test_settings_that_cannot_be_are_refused(mapping: dict[str, Any], word: str) -> None:
    with pytest.raises(VirtualRadioError, match=word):
        load_air(mapping)


def test_radios_are_of_the_kind_that_was_asked_for_where_the_file_says_none() -> None:
    assert [r.kind for r in load_air({}, "usrp").radios] == ["usrp"]
    assert [r.kind for r in load_air({"radios": [{}, {"kind": "pluto"}]}, "usrp").radios] == ["usrp", "pluto"]


def test_settings_survive_a_file(tmp_path: Path) -> None:
    import yaml

    air = load_air({"radios": [{"lo_ppm": 20}, {"kind": "usrp"}], "echoes": [[1e-6, -10, 0]], "channel": "rician-k100"})
    path = tmp_path / "air.yaml"
    path.write_text(yaml.safe_dump(air.to_dict()))
    assert load_air(path) == air
    with pytest.raises(VirtualRadioError, match="cannot be read"):
        load_air(tmp_path / "none.yaml")
