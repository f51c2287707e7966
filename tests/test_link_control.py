# SPDX-License-Identifier: GPL-3.0-or-later
"""Semantic ACM: what a wanted quality needs, how the controller follows late reports, and the loop of a transmitter."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import time

import numpy as np
import pytest
from djscc.channels import load_channel
from djscc.cli import main
from djscc.codec import load_codec
from djscc.errors import DjsccError
from djscc.link_control import (
    Choice,
    ClosedLoop,
    ControlError,
    Controller,
    ControllerSettings,
    choices_of_model,
    chosen_model,
)
from djscc.link_control.acm import run_acm
from djscc.link_control.choices import ratios_of
from djscc.link_control.fading_pass import Track, fly, make_track
from djscc.link_control.measured import Measured
from djscc.links import MetricsPublisher, Received
from djscc.semantic_loss import FORMS, LOSSES, FittedModel, ModelError, Quality
from djscc.waveform import FrameHeader

CHOICES = [Choice("1/24", 1 / 24, 10.0, 1 / 24), Choice("1/12", 1 / 12, 5.0, 1 / 12), Choice("1/6", 1 / 6, 0.0, 1 / 6)]


def model() -> FittedModel:
    """The model that `make demo` fitted, written down."""
    form = FORMS["sigmoid_plus_exponential"]
    values = {"a": 0.2492, "b": 0.1676, "c": -0.9916, "d": 0.16745, "k": 19.346, "f": 0.2687}
    good = Quality(0.99, 0.003, 0.01, 1.0)
    parameters = np.array([values[name] for name in form.names])
    ratios = np.array([1 / 48, 1 / 24, 1 / 12, 1 / 6])
    return FittedModel("psnr", form, parameters, parameters[None] * 1.01, ratios, (-5.0, 15.0), good, good)


def header(number: int) -> FrameHeader:
    return FrameHeader(
        codec_id=7, scene_id=1, frame_number=number, tile_index=0, tiles_total=1, layers=(4,), symbols_per_layer=16,
        tile_height=16, tile_width=16, bands=3, image_height=0, image_width=0, seed=0,
    )  # fmt: skip


def report(number: int, snr_db: float) -> Received:
    return Received({"kind": "frame", "header": header(number).to_dict(), "snr_est_db": snr_db})


def follow(controller: Controller, snr_of, seconds=20.0, step=0.05, delay=0.25):
    """Choose every ``step`` s, reports arriving ``delay`` s later; returns times and choices."""
    waiting, times, chosen = [], np.arange(0, seconds, step), []
    for now in times:
        while waiting and waiting[0][0] <= now:
            known, sent, snr, forecast = waiting.pop(0)
            controller.report(snr, sent, known, forecast)
        chosen.append(controller.choose(now))
        waiting.append((now + delay, now, snr_of(now), controller.forecast))
    return times, chosen


def test_needed_snr_is_where_the_model_meets_the_wanted_value():
    choices = choices_of_model(model(), 28.0)
    assert [choice.name for choice in choices] == ["1/48", "1/24", "1/12", "1/6"]
    needed = [choice.snr_db for choice in choices]
    assert needed == sorted(needed, reverse=True), "less symbols need more SNR"
    for choice in choices:
        if -5 < choice.snr_db < math.inf:
            value = LOSSES["psnr"].value(float(model().predict(choice.ratio, choice.snr_db)))
            assert value == pytest.approx(28.0, abs=0.02)


def test_confidence_needs_more_and_the_impossible_is_said():
    plain, sure = choices_of_model(model(), 28.0), choices_of_model(model(), 28.0, confidence=0.9)
    assert all(b.snr_db >= a.snr_db for a, b in zip(plain, sure, strict=True))
    with pytest.raises(ControlError, match=r"--wanted 60.*the best is"):
        choices_of_model(model(), 60.0)
    with pytest.raises(ControlError, match="fitted to"):
        choices_of_model(model(), 28.0, ratios=[1 / 2])
    assert math.isinf(choices_of_model(model(), 33.0)[0].snr_db), "1/48 reaches 33 dB nowhere"


def test_ratios_are_the_codecs_and_the_models():
    found = ratios_of(load_codec("adaptive", "lite"), model())
    assert found == [1 / 48, 1 / 32, 1 / 24, 1 / 16, 1 / 12, 1 / 8, 1 / 6]


def test_safest_before_the_first_report_and_after_silence():
    controller = Controller(CHOICES)
    assert controller.choose(0.0).name == "1/6"
    _, chosen = follow(controller, lambda t: 20.0)
    assert chosen[-1].name == "1/24"
    assert controller.choose(20 + controller.settings.timeout_s + 0.1).name == "1/6"
    controller.report(20.0, 25.5, 25.6)
    assert controller.choose(25.7).name == "1/24", "it comes back with the reports"


def test_steady_channel_settles_without_flapping():
    """Estimates with 0.2 dB of deviation, 0.3 dB above what a choice needs: 400 choices, at most one change after 5 s.

    The seed is fixed, so there is no chance in it.
    """
    rng = np.random.default_rng(1)
    times, chosen = follow(Controller(CHOICES), lambda t: 6.2 + 0.2 * rng.standard_normal())
    names = [choice.name for t, choice in zip(times, chosen, strict=True) if t > 5]
    assert set(names) == {"1/12"}


def test_hysteresis_on_a_slow_swing():
    """An SNR that swings by 0.3 dB around a threshold changes the choice twice without hysteresis, not with it."""

    def changes(hysteresis):
        settings = ControllerSettings(hysteresis_db=hysteresis, margin_db=0.0, first_margin_db=0.0)
        _, chosen = follow(Controller(CHOICES, settings), lambda t: 5.0 + 0.3 * math.sin(t * 1.5), seconds=60)
        return sum(a != b for a, b in itertools.pairwise(chosen[200:]))

    assert changes(1.0) == 0 < changes(0.0)


def test_down_at_once_and_up_with_hysteresis():
    controller = Controller(CHOICES, ControllerSettings(margin_db=0.0))
    times, chosen = follow(controller, lambda t: 12.0 if t < 10 else 3.0, seconds=20)
    first = next(t for t, choice in zip(times, chosen, strict=True) if t > 10 and choice.name == "1/6")
    assert first < 10 + 0.25 + 0.5, "soon after the first report of it"


def test_a_ramp_is_forecast_over_the_delay():
    """A pass that rises by 0.1 dB/s: the forecast over 1 s of delay is within 0.1 dB, not a second behind."""
    controller = Controller(CHOICES)
    follow(controller, lambda t: 0.1 * t, seconds=90, delay=1.0)
    assert controller.forecast_db(90.0) == pytest.approx(9.0, abs=0.1)


def test_fast_fading_grows_the_margin():
    rng = np.random.default_rng(1)
    calm, fading = Controller(CHOICES), Controller(CHOICES)
    follow(calm, lambda t: 12.0)
    follow(fading, lambda t: 12.0 + 3 * rng.standard_normal())
    assert calm.fade_margin_db(20) < 0.1
    assert 3.0 < fading.fade_margin_db(20) < 8.0  # 1.64 standard deviations are 4.9 dB


def test_reports_out_of_order_or_odd():
    controller = Controller(CHOICES)
    controller.report(12.0, 1.0, 1.2)
    controller.report(-30.0, 0.5, 1.3)
    controller.report(math.nan, 1.5, 1.6)
    assert controller.forecast_db(1.7) == pytest.approx(12.0)


@pytest.mark.parametrize(
    "bad", [{"reliability": 1.0}, {"hysteresis_db": -1}, {"timeout_s": 0}, {"margin_db": math.nan}]
)
def test_settings_are_checked(bad):
    with pytest.raises(ControlError, match=next(iter(bad))):
        ControllerSettings(**bad)


def test_loop_matches_reports_by_the_frames_ids():
    loop = ClosedLoop(Controller(CHOICES), "tcp://127.0.0.1:1")
    for number in range(100):
        assert loop.choose(number * 0.1).name == "1/6" or number > 3
        loop.sent(header(number), number * 0.1)
        if number >= 3:
            loop.take(report(number - 3, 15.0), number * 0.1 + 0.05)
    assert loop.reports == 97
    loop.take(report(5000, -20.0), 10.0)  # of somebody else's transmission
    loop.take(report(50, -20.0), 10.0)  # heard twice
    loop.take(Received({"kind": "frame", "header": "x", "snr_est_db": 1.0}), 10.0)
    loop.take(Received({"kind": "frame", "header": header(99).to_dict(), "snr_est_db": "loud"}), 10.0)
    assert loop.reports == 97
    assert loop.choose(10.0).name == "1/24"


def test_the_margin_counts_from_the_choice_however_late_the_frame_goes_out():
    """Five frames wait between choice and sending on a channel that swings by 6 dB: the margin sees the whole delay."""
    margins = []
    for ahead in (0, 5):
        loop, made = ClosedLoop(Controller(CHOICES), "tcp://127.0.0.1:1"), []
        for number in range(400):
            loop.choose(number * 0.1)
            made.append(number)
            if len(made) > ahead:
                first = made.pop(0)
                loop.sent(header(first), number * 0.1)
                loop.take(report(first, 12.0 + 6 * math.sin(number * 0.1)), number * 0.1 + 0.01)
        margins.append(loop.controller.fade_margin_db(40.0))
    assert margins[0] + 1 < margins[1]


def test_lost_frames_grow_the_margin_but_not_those_that_the_receiver_dropped():
    """Reports come five frames later. A decoder that stalls drops the newest frames, and tells of it with those before them."""

    def margin(lost=(), dropped=(), since=0):
        loop = ClosedLoop(Controller(CHOICES), "tcp://127.0.0.1:1")
        for number in range(200):
            loop.choose(number * 0.1)
            loop.sent(header(number), number * 0.1)
            heard = number - 5
            if heard >= since and heard not in lost and heard not in dropped:
                message = report(heard, 4.0)
                message.message["frames_dropped"] = sum(frame <= number for frame in dropped)
                loop.take(message, number * 0.1 + 0.05)
        return loop.controller.fade_margin_db(20.0)

    every_eighth = range(0, 200, 8)
    assert margin() < 0.1
    assert margin(lost=every_eighth) == pytest.approx(12.0, abs=0.1), "from 4 dB to the -8 dB at which frames are lost"
    assert margin(dropped=[*range(60, 80), *range(120, 140)]) < 0.1
    assert margin(since=100) < 0.1, "nobody listened to the first hundred"


def test_one_lost_frame_is_told_with_the_next_report():
    loop, told = ClosedLoop(Controller(CHOICES), "tcp://127.0.0.1:1"), []
    loop.controller.lost = lambda sent_s, forecast_db: told.append(sent_s)
    for number in range(100):
        loop.choose(number * 0.1)
        loop.sent(header(number), number * 0.1)
        if number != 50:
            loop.take(report(number, 4.0), number * 0.1 + 0.05)
    assert told == [5.0]


def test_loop_over_a_link():
    publisher = MetricsPublisher("tcp://127.0.0.1:*")
    loop = ClosedLoop(Controller(CHOICES), publisher.endpoint)
    loop.start()
    for number in range(200):
        loop.choose()
        loop.sent(header(number))
        publisher.publish(report(number, 15.0).message)
        if loop.reports > 30:
            break
        time.sleep(0.02)
    assert loop.reports > 30
    assert loop.choose().name == "1/24"
    loop.close()
    publisher.close()


def plane() -> Measured:
    """A made-up plane on which 30 dB of PSNR need 10, 5 and 0 dB of Es/N0."""
    snr = np.arange(-10.0, 23.0)
    values = np.array([30 + 0.5 * (snr - choice.snr_db) for choice in CHOICES])
    losses = 1 - values / LOSSES["psnr"].value(0.0)
    return Measured(LOSSES["psnr"], np.array([choice.ratio for choice in CHOICES]), snr, losses, [])


def test_adaptive_beats_every_fixed_ratio_over_a_pass():
    """Over a rise and fall of 16 dB: more good tiles a second than any fixed ratio, and nearly all frames as wanted."""
    time = np.arange(0, 300, 0.01)
    snr = 2 + 14 * np.sin(np.pi * time / 300)
    track = Track(0.01, snr, snr, np.full(len(snr), 0.3))

    def run(choose):
        return fly(track, plane(), 30.0, lambda ratio: 0.8 * ratio, 64, "x", choose)

    adaptive = run(Controller(CHOICES))
    fixed = [run(lambda now, r=choice.ratio: r) for choice in CHOICES]
    assert adaptive.reached.mean() > 0.97
    assert adaptive.good_tiles_per_s > 1.15 * max(outcome.good_tiles_per_s for outcome in fixed)
    assert adaptive.to_dict()["changes"] <= 12


def test_frames_in_deep_fades_are_lost_and_not_reported():
    track = Track(0.01, np.full(1000, -9.0), np.full(1000, -9.0), np.full(1000, 0.1))
    controller = Controller(CHOICES)
    outcome = fly(track, plane(), 30.0, lambda r: 0.1, 64, "x", controller)
    assert controller.forecast_db(10.0) is None, "nothing was reported"
    assert np.isnan(outcome.value).all() and outcome.good_tiles_per_s == 0
    assert outcome.to_dict()["mean_value"] is None and outcome.to_dict()["lost"] == 100
    with pytest.raises(ControlError, match=r"a frame of 11 s \(x\) is longer than the track of 10 s: more --seconds"):
        fly(track, plane(), 30.0, lambda r: 11.0, 64, "x", lambda now: 1 / 6)


def test_tracks_of_passes_and_channels():
    flight = make_track(
        load_channel("leo-600km-x-band").replace({"snr_db": 15.0, "link.exceeded_percent": None}),
        load_channel("rician-k10"),
    )
    assert flight.duration_s > 500
    assert 15 < flight.snr_db.max() < 22 and flight.elevation_deg.max() == pytest.approx(75, abs=1)
    assert 0.05 < flight.round_trip_s.min() < flight.round_trip_s.max() < 0.07
    steady = make_track(load_channel("awgn").replace(snr_db=3.0), seconds=2)
    assert (steady.snr_db == 3).all() and (steady.round_trip_s == 0.5).all()
    with pytest.raises(DjsccError, match="--snr"):
        make_track(load_channel("awgn").replace(snr_db=None))


def test_dry_run_opens_no_socket(tmp_path, capsys, monkeypatch):
    """transmit --dry-run --adapt says what would be sent, with the safest ratio; the feedback link and the log stay shut."""
    from djscc.links import sockets

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(sockets.Link, "__init__", refuse)
    model().save(tmp_path / "model.json")
    arguments = ["transmit", "landsat", "--limit", "2", "--sink", "zmq:tcp://127.0.0.1:6999", "--dry-run"]
    adapt = ["--adapt", str(tmp_path / "model.json"), "--wanted", "28"]
    assert main([*arguments, *adapt, "--log", str(tmp_path / "log"), "--json", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["frames"] == 1
    assert not (tmp_path / "log").exists()
    for wrong in (["--wanted", "28"], adapt[:2], [*adapt[:2], "--wanted", "70"]):
        assert main([*arguments, *wrong]) == 1
        assert "--wanted" in capsys.readouterr().err
    assert main([*arguments, *adapt, "--reliability", "2"]) == 1


def test_adapted_transmission_and_its_log(tmp_path):
    """Frames to a file, nobody reporting: all at the safest ratio, and each in the transmit log with the originals."""
    from djscc.campaign.transmit_log import SentLog

    model().save(tmp_path / "model.json")
    arguments = [
        "transmit",
        "landsat",
        "--limit",
        "4",
        "--tiles-per-frame",
        "2",
        "--sink",
        f"file:{tmp_path / 's.cf32'}",
    ]
    adapt = ["--adapt", str(tmp_path / "model.json"), "--wanted", "28", "--feedback", "tcp://127.0.0.1:6998"]
    assert main([*arguments, *adapt, "--log", str(tmp_path / "log"), "--json", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["adapt"] == {"reports": 0, "ratios": {"1/6": 2}}
    log = SentLog(tmp_path / "log")
    log.refresh()
    assert log.sent.total() == 2
    (_, first), _ = log.frames()
    assert len(log.originals(first.scene_id)) == 4 and first.layers == (32, 32)


def test_command_acm(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("djscc.link_control.acm.SNR_DB", (-10, -2, 6, 14, 22))
    arguments = ["acm", "--channel", "shadowed-average", "--seconds", "20", "--limit", "4", "--decoder", "lite"]
    model().save(tmp_path / "model.json")
    extra = ["--json", str(tmp_path / "r.json"), "--plot", str(tmp_path / "p.png"), "--reliability", "0.9"]
    assert main([*arguments[:1], str(tmp_path / "model.json"), *arguments[1:], "--wanted", "27", *extra]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert [o["name"] for o in result["outcomes"]][-2:] == ["adaptive 90 %", "foreknowledge"]
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert "good tiles/s" in capsys.readouterr().out


def test_safest_is_the_largest_of_those_that_do_at_the_lowest_snr_measured():
    choices = choices_of_model(model(), 20.0)
    assert {choice.snr_db for choice in choices} == {-5.0}
    assert Controller(choices).safest.ratio == pytest.approx(1 / 6)


def test_models_of_several_metrics_and_channels(tmp_path, codec):
    over = {"awgn": {"codec": "adaptive", "channel": "awgn"}, "rician": {"codec": "adaptive", "channel": "rician"}}
    models = [dataclasses.replace(model(), provenance=about) for about in over.values()]
    path = tmp_path / "model.json"
    other = dataclasses.replace(models[0], metric="ssim").to_dict()
    path.write_text(json.dumps([models[0].to_dict(), other]))
    assert chosen_model(path, None, codec, None).metric == "psnr"
    assert chosen_model(path, "ssim", codec, None).metric == "ssim"
    path.write_text(json.dumps([m.to_dict() for m in models]))
    assert chosen_model(path, None, codec, "rician").provenance["channel"] == "rician"
    with pytest.raises(ModelError, match="holds 2 models of metric psnr, codec adaptive, channel any"):
        chosen_model(path, None, codec, None)


def test_good_tiles_are_counted_as_a_frame_holds_them(landsat, codec):
    def fixed(tiles, per_frame):
        comparison = run_acm(
            plane(), model(), codec, landsat.take(tiles), load_channel("awgn").replace(snr_db=15.0), 20.0,
            tiles_per_frame=per_frame, seconds=5.0,
        )  # fmt: skip
        return comparison.outcomes[0].good_tiles_per_s

    assert fixed(4, 64) == pytest.approx(fixed(4, 4))
    assert fixed(4, 64) < fixed(64, 64) < 1e6 / (4 * 64)
