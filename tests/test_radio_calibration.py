# SPDX-License-Identifier: GPL-3.0-or-later
"""djscc calibrate: the receiver's gain comes to where nothing clips and the SNR is the channel's."""

import json

import numpy as np
import pytest
from djscc.cli import main
from djscc.radio.calibration import LevelMeter, Measurement, calibrate, next_gain
from djscc.radio.errors import OutOfLimitsError


def result(tmp_path, *arguments, exit_code=0):
    file = tmp_path / "c.json"
    command = ["calibrate", "--simulate", "awgn", "--frames", "2", "--json", str(file), *map(str, arguments)]
    assert main(command) == exit_code
    return json.loads(file.read_text())


def test_a_weak_signal_is_amplified_until_quantisation_no_longer_counts(tmp_path, capsys):
    got = result(tmp_path, "--snr", "20", "--gain", "0", "--loss", "85", "--receive-gain-limits", "0", "90")
    first, last = got["measured"][0], got["measured"][-1]
    assert (first["snr_db"] or 0) < 18 and last["snr_db"] == pytest.approx(20, abs=0.3)
    assert -9 < last["peak_dbfs"] < -3 and last["clipped"] == 0 and got["receive_gain"] == last["receive_gain"]
    assert f"receive with --gain {got['receive_gain']:g}" in capsys.readouterr().out


def test_a_strong_signal_is_taken_back_from_clipping(tmp_path):
    got = result(tmp_path, "--snr", "25", "--gain", "0", "--loss", "15")
    assert got["measured"][0]["clipped"] > 0.1
    assert got["measured"][-1]["clipped"] < 1e-4 and got["measured"][-1]["snr_db"] == pytest.approx(25, abs=0.5)


def test_the_transmitter_is_advised_upon(tmp_path):
    assert "overdriven" in result(tmp_path, "--snr", "20", "--gain", "0", "--loss", "-40", "--rounds", "2")["reason"]
    assert "raise the transmitter's gain" in result(tmp_path, "--snr", "20", "--gain", "0", "--loss", "95")["reason"]
    assert "may be lowered" in result(tmp_path, "--snr", "45", "--gain", "0", "--loss", "30")["reason"]
    none = ["--snr", "-40", "--gain", "0", "--loss", "80"]
    assert "no frame" in result(tmp_path, *none, exit_code=1)["reason"]


def test_carrier_and_clock_are_told(tmp_path):
    channel = tmp_path / "channel.yaml"
    channel.write_text("snr_db: 15\ncfo_hz: 12500\nclock_ppm: 8\n")
    arguments = ["calibrate", "--simulate", str(channel), "--gain", "-3", "--frames", "2"]
    assert main([*arguments, "--json", str(tmp_path / "c.json")]) == 0
    best = json.loads((tmp_path / "c.json").read_text())["measured"][-1]
    assert best["cfo_hz"] == pytest.approx(12500, abs=20) and best["clock_ppm"] == pytest.approx(8, abs=1)
    assert best["snr_db"] == pytest.approx(12, abs=0.3)  # 3 dB less sent


def measured(gain, peak_dbfs, clipped=0.0, snr_db=20.0):
    return Measurement(0.0, gain, 1, 1, peak_dbfs, clipped, snr_db, snr_db, 10.0, 0.0, 0.0, 0)


def test_steps_of_the_gain():
    assert next_gain(measured(30, -26), (0, 70)) == 50
    assert next_gain(measured(60, -40), (0, 70)) == 70
    assert next_gain(measured(5, 0.0, clipped=0.5), (0, 70)) == 0
    asked = []

    def bench(transmit, receive):
        asked.append(receive)
        return measured(receive, min(receive - 45.0, 0.0), 0.5 if receive > 45 else 0.0)

    suggestion, _ = calibrate(bench, 0.0, 60.0, (0, 70))
    assert asked == [60, 48, 36] and suggestion.receive_gain == 36


def test_limits_of_the_device_narrow_those_given():
    asked = []

    def bench(transmit, receive):
        asked.append(receive)
        for gain, low, high in ((transmit, -89.75, 0.0), (receive, 0.0, 31.5)):
            if not low <= gain <= high:
                raise OutOfLimitsError("usrp:", "--gain", gain, low, high, "dB")
        return measured(receive, receive - 90.0)

    suggestion, done = calibrate(bench, -10.0, 30.0, (0, 70))
    assert asked == [30, 70, 31.5] and suggestion.receive_gain == done[-1].receive_gain == 31.5
    assert "gain is at its end" in suggestion.reason
    with pytest.raises(OutOfLimitsError, match=r"--gain 5 dB is outside of the device's -89\.75 to 0 dB"):
        calibrate(bench, 5.0, 30.0, (0, 70))
    with pytest.raises(OutOfLimitsError, match=r"--gain 30 dB is outside of the device's -89\.75 to 0 dB"):
        calibrate(bench, 30.0, 30.0, (0, 70))  # both


def test_levels():
    meter = LevelMeter()
    meter.write(np.array([0.5, 1j, -0.25], np.complex64))
    assert meter.peak_dbfs == 0 and meter.clipped == 1 and meter.samples == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--simulate", "awgn"], "nothing is sent before --gain"),
        (["--gain", "0"], "--sink is missing"),
        (["--gain", "0", "--sink", "file:x", "--source", "usrp:"], "is no radio"),
        (["--gain", "0", "--simulate", "awgn", "--receive-gain-limits", "9", "1"], "give the lower one first"),
        (["--gain", "0", "--simulate", "awgn", "--receive-gain", "80"], "outside of --receive-gain-limits 0 70"),
    ],
)
def test_wrong_use_is_said_clearly(capsys, arguments, message):
    assert main(["calibrate", *arguments]) == 1
    assert message in capsys.readouterr().err
