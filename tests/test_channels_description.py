# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel descriptions: presets, YAML, replacing values, and errors that say what to do."""

import json
import subprocess
import sys

import pytest
import yaml
from djscc.channels import ChannelDescription, ChannelError, load_channel, presets

NAMED = {
    "awgn", "rician-k10", "rician-k100", "ntn-tdl-a", "ntn-tdl-b", "ntn-tdl-c", "ntn-tdl-d", "shadowed-light",
    "shadowed-average", "shadowed-heavy", "land-mobile", "leo-600km-x-band", "bench-pluto",
}  # fmt: skip


def test_presets_are_those_named():
    assert set(presets()) == NAMED


@pytest.mark.parametrize("name", sorted(NAMED))
def test_preset_survives_yaml_and_json(name, tmp_path):
    description = load_channel(name)
    assert description.name == name and description.about
    path = tmp_path / "copy.yaml"
    path.write_text(yaml.safe_dump(description.to_dict()))
    assert load_channel(path) == description
    assert load_channel(json.loads(json.dumps(description.to_dict()))) == description


def test_file_is_named_after_itself(tmp_path):
    path = tmp_path / "rooftop.yaml"
    path.write_text("snr_db: 1e1\n")  # YAML 1.1 reads 1e1 as text
    assert load_channel(str(path)) == ChannelDescription(name="rooftop", snr_db=10.0)


def test_replace_finds_a_field_wherever_it_is():
    channel = load_channel("rician-k10").replace(snr_db=3, k_db=7, doppler_hz=50)
    assert (channel.snr_db, channel.fading.k_db, channel.fading.doppler_hz) == (3.0, 7.0, 50.0)
    assert channel.replace({"fading.k_db": 1}).fading.k_db == 1.0
    assert load_channel("bench-pluto").replace({"receiver.bits": 8}).receiver.bits == 8
    assert load_channel("awgn").replace(fading={"model": "rayleigh"}).fading.doppler_hz == 30.0


def test_unquoted_time_is_taken():
    lines = ["1 25544U 98067A   14020.93268519  .00009878  00000-0  18200-3 0  5082"]
    lines += ["2 25544  51.6498 109.4756 0003572  55.9686 274.8005 15.49815350868473"]
    channel = load_channel(yaml.safe_load(f"orbit: {{start: 2014-01-21 12:00:00, tle: {json.dumps(lines)}}}"))
    assert channel.orbit.start == "2014-01-21T12:00:00"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("rician-k11", ["rician-k11", "rician-k10"]),
        ("missing.yaml", ["missing.yaml", "cannot read"]),
        ({"snr": 3}, ["snr: unknown key", "snr_db"]),
        ({"snr_db": "high"}, ["snr_db", "'high'", "number"]),
        ({"snr_db": float("nan")}, ["snr_db", "finite"]),
        ({"delay_samples": -1}, ["delay_samples", "-1.0", "0 or more"]),
        ({"fading": {"model": "rice"}}, ["fading.model", "'rice'", "rician"]),
        ({"fading": {"model": "rician", "k": 3}}, ["fading.k: unknown key", "k_db"]),
        ({"fading": {"model": "rician", "doppler_hz": 0}}, ["fading.doppler_hz", "0.0", "0.01"]),
        ({"fading": {"model": "shadowed-rician", "severity": "hevy"}}, ["fading.severity", "heavy"]),
        ({"fading": {"model": "shadowed-rician", "severity": "heavy", "m": 1}}, ["severity", "Give one of"]),
        ({"fading": {"model": "shadowed-rician", "b": 1}}, ["fading.m", "together"]),
        ({"fading": {"model": "shadowed-rician", "elevation_deg": 85}}, ["elevation_deg", "85", "20 to 80"]),
        ({"fading": {"model": "ntn-tdl", "profile": "E"}}, ["fading.profile", "'E'", "A, B, C, D"]),
        ({"receiver": {"bits": 12.5}}, ["receiver.bits", "12.5", "whole number"]),
        ({"receiver": {"phase_noise": [[1000, -80], [100, -70]]}}, ["receiver.phase_noise", "rising"]),
        ({"receiver": {"phase_noise": [[1000]]}}, ["receiver.phase_noise[0]", "2 values"]),
        ({"amplifier": {"model": "rapp", "smoothness": 0}}, ["amplifier.smoothness", "2 is typical"]),
        ({"link": {}}, ["link", "orbit"]),
        ({"orbit": {"precompensation": "carier"}}, ["orbit.precompensation", "carrier"]),
        ({"orbit": {"min_elevation_deg": 0}, "link": {"exceeded_percent": 1}}, ["orbit.min_elevation_deg", "from 5"]),
    ],
)
def test_errors_name_key_value_and_remedy(source, words):
    with pytest.raises(ChannelError) as caught:
        load_channel(source)
    for word in words:
        assert word in str(caught.value)


def test_replace_refuses_what_is_absent_or_ambiguous():
    with pytest.raises(ChannelError, match="k_db: channel awgn has no such value"):
        load_channel("awgn").replace(k_db=3)
    with pytest.raises(ChannelError, match=r"transmitter\.bits or receiver\.bits"):
        load_channel("bench-pluto").replace(bits=8)


def test_sample_channels_do_without_torch():
    code = "import sys, djscc.channels as c; c.SampleChannel(c.load_channel('bench-pluto'), 2e6, 2, 1.0)"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
