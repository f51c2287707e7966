# SPDX-License-Identifier: GPL-3.0-or-later
"""transmit and receive over recordings, sockets and pipes: what is sent arrives, recordings replay alike, refusals are clear."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import sigmf
from djscc.cli import main
from djscc.cli.interrupt import Interrupt
from djscc.cli.transmit import _deliver, _Waiting
from djscc.imagery import paste
from djscc.radio import RadioEvents, RadioSettings, StreamError, load_radio_settings, parse_endpoint
from djscc.radio.prbs import TestFrames, TestSink, missing
from djscc.radio.sigmf_files import About, Gap, Overrun, Recorder, SigmfSource, read_metadata
from djscc.waveform import Modulator, Receiver, WaveformSettings
from PIL import Image

COMMAND = [sys.executable, "-m", "djscc.cli"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def picture(tmp_path_factory, landsat):
    path = tmp_path_factory.mktemp("picture") / "scene.png"
    Image.fromarray(paste(landsat.images, 512, 512)[:128, :192]).save(path)
    return path


def code(*argv):
    """Exit code, as a shell would see it."""
    try:
        return main([str(a) for a in argv])
    except SystemExit as stop:
        return stop.code


def log_of(run):
    """The frames of a run without the time of the day."""
    lines = [json.loads(line) for line in (run / "frames.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "time"} for record in lines]


def wait_for_frames(run, enough):
    """Until the frames that a run has logged by now are ``enough``, a question about their numbers."""
    deadline, log = time.monotonic() + 60, run / "frames.jsonl"
    while True:
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        numbers = [json.loads(line)["frame_number"] for line in lines if line.endswith("\n")]
        if enough(numbers):
            return
        assert time.monotonic() < deadline, f"waited in vain; frames so far {numbers}"
        time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def noisy(samples, seed=5, snr_db=15.0):
    variance = 10**-0.9 * 2 / 10 ** (snr_db / 10)
    parts = np.random.default_rng(seed).standard_normal((2, samples.size)) * np.sqrt(variance / 2)
    return (samples + parts[0] + 1j * parts[1]).astype(np.complex64)


# recordings


def test_a_sigmf_recording_says_how_it_was_made_and_is_received(picture, tmp_path):
    name, run = tmp_path / "scene", tmp_path / "run"
    sent = ["transmit", picture, "--sink", f"sigmf:{name}", "--symbol-rate", "2.5e5", "--samples-per-symbol", "4"]
    assert code(*sent, "--json", tmp_path / "t.json") == 0
    meta = sigmf.fromfile(str(name) + ".sigmf-meta")
    meta.validate()
    info = meta.get_global_info()
    assert info["core:sample_rate"] == 1e6 and info["djscc:symbol_rate"] == 2.5e5
    assert info["djscc:codec_id"] == json.loads((tmp_path / "t.json").read_text())["codec_id"]
    assert meta.sample_count == json.loads((tmp_path / "t.json").read_text())["samples"]
    # the recording itself says its rates
    assert code("receive", "--source", f"sigmf:{name}.sigmf-data", "--run", run, "--decoder", "lite") == 0
    assert [r["frame_number"] for r in log_of(run)] == [0]
    assert code(*sent) == 1  # never written over


def test_a_recording_of_a_live_reception_replays_to_the_same_log(tmp_path):
    """Over a socket, with noise, a gap whose size is known, and one whose size is not."""
    frames, modulator = TestFrames(3), Modulator()
    samples = noisy(np.concatenate([*(modulator.modulate(*f) for f in frames), modulator.guard()]))
    at = len(samples) // 2
    live, tap = Receiver(), Recorder(tmp_path / "live", About())
    logs = [TestSink(), TestSink()]
    got = []

    def push(part):
        tap.write(part)
        got.extend(live.push(part))

    push(samples[: at - 20_000])
    live.overrun(at - 30_000, live.position)
    tap.overrun(at - 30_000, at - 20_000)
    push(samples[at - 20_000 : at])
    tap.gap(700)
    got += live.skip(700)
    push(samples[at + 700 :])
    got += live.flush()
    tap.close()
    for frame in got:
        logs[0].accept(frame)
    replayed = Receiver()
    for item in SigmfSource(tmp_path / "live"):
        if isinstance(item, Gap):
            new = replayed.skip(item.count)
        elif isinstance(item, Overrun):
            replayed.overrun(item.first, item.last)
            new = []
        else:
            new = replayed.push(item)
        for frame in new:
            logs[1].accept(frame)
    for frame in replayed.flush():
        logs[1].accept(frame)
    first, second = ([{k: v for k, v in r.items() if k != "time"} for r in log.records] for log in logs)
    assert first == second and len(first) == 3
    assert [r["overruns"] for r in first] == [0, 2, 0] and [r["lost_samples"] for r in first] == [0, 700, 0]
    captures = read_metadata(tmp_path / "live")["captures"]
    assert [c["core:global_index"] - c["core:sample_start"] for c in captures] == [0, 700]


def test_receive_records_what_it_receives(picture, tmp_path):
    file, runs = tmp_path / "scene.cf32", [tmp_path / "a", tmp_path / "b"]
    assert code("transmit", picture, "--sink", f"file:{file}", "--tiles-per-frame", "2") == 0
    noisy(np.fromfile(file, "<c8")).tofile(file)
    receive = ["receive", "--decoder", "lite"]
    assert code(*receive, "--source", f"file:{file}", "--run", runs[0], "--record", f"sigmf:{tmp_path / 'r'}") == 0
    assert code(*receive, "--source", f"sigmf:{tmp_path / 'r'}", "--run", runs[1]) == 0
    assert log_of(runs[0]) == log_of(runs[1]) and len(log_of(runs[0])) == 3
    info = read_metadata(tmp_path / "r")["global"]
    assert info["djscc:run_id"] in (runs[0] / "run.yaml").read_text()


def test_integer_recordings_of_others_are_read(tmp_path):
    stream = np.concatenate([Modulator().modulate(*TestFrames(1).frame(0)), Modulator().guard()])
    samples = np.round(noisy(stream).view(np.float32) * 8191).astype("<i2")
    samples.tofile(tmp_path / "other.sigmf-data")
    meta = sigmf.SigMFFile(global_info={"core:datatype": "ci16_le", "core:sample_rate": 2e6})
    meta.add_capture(0)
    (tmp_path / "other.sigmf-meta").write_text(meta.dumps())
    arguments = ["receive", "--source", f"sigmf:{tmp_path / 'other'}", "--prbs", "--run", tmp_path / "run"]
    assert code(*arguments, "--json", tmp_path / "r.json") == 0
    assert json.loads((tmp_path / "r.json").read_text())["prbs"]["snr_db"] == pytest.approx(15, abs=1)


def test_frames_and_seconds_end_a_reception(tmp_path, capsys):
    file = tmp_path / "t.cf32"
    assert code("transmit", "--prbs", "3", "--sink", f"file:{file}") == 0
    receive = ["receive", "--prbs", "--source", f"file:{file}", "--run"]
    assert code(*receive, tmp_path / "a", "--frames", "2") == 0
    assert [r["frame_number"] for r in log_of(tmp_path / "a")] == [0, 1]
    assert code(*receive, tmp_path / "b", "--seconds", "0.1") == 0  # a frame takes 0.07 s
    assert len(log_of(tmp_path / "b")) == 2 and log_of(tmp_path / "b")[1]["erased"] > 0.3


# sockets and pipes


@pytest.fixture
def processes():
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_socket_in_any_order_with_the_transmitter_killed_in_the_middle(tmp_path, processes):
    address, run = f"zmq:tcp://127.0.0.1:{free_port()}", tmp_path / "run"
    receiver = processes("receive", "--source", address, "--prbs", "--run", run)
    transmitter = processes("transmit", "--prbs", "4", "--repeat", "0", "--sink", address)
    wait_for_frames(run, lambda numbers: len(numbers) >= 4)
    transmitter.kill()
    transmitter.wait()
    again = processes("transmit", "--prbs", "4", "--repeat", "0", "--sink", address)
    # what the first had sent still lies in the socket's queue; the second begins anew with frame 0
    wait_for_frames(run, lambda numbers: numbers.count(0) == 2 and numbers[-1] >= 2)
    for process in (receiver, again):
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 0, output
    assert "test frames" in output
    assert sum(r["erased"] > 0.05 for r in log_of(run)) <= 2  # what the kill cut off, and what follows it


def test_ctrl_c_ends_a_reception_with_its_log_closed(tmp_path, processes):
    address, run = f"zmq:tcp://127.0.0.1:{free_port()}", tmp_path / "run"
    processes("transmit", "--prbs", "4", "--repeat", "0", "--sink", address)
    receiver = processes("receive", "--source", address, "--prbs", "--run", run, "--json", tmp_path / "r.json")
    wait_for_frames(run, lambda numbers: len(numbers) >= 2)
    receiver.send_signal(signal.SIGINT)
    output, _ = receiver.communicate(timeout=30)
    assert receiver.returncode == 0, output
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["frames_received"] == len(log_of(run)) >= 2
    assert "EVM" in output.splitlines()[-1]


def test_a_shell_pipe(picture, tmp_path):
    command = " ".join(map(shlex.quote, COMMAND))
    line = (
        f"{command} transmit {picture} --sink - --tiles-per-frame 3 | "
        f"{command} receive --source - --run {tmp_path / 'run'} --decoder lite"
    )
    result = subprocess.run(line, shell=True, capture_output=True, text=True, env=ENVIRONMENT, timeout=100)
    assert result.returncode == 0, result.stderr
    assert [r["frame_number"] for r in log_of(tmp_path / "run")] == [0, 1]
    assert "1 images in 2 frames" in result.stderr


# test frames


def test_test_frames_tell_evm_and_where_samples_are_missing():
    settings, modulator = WaveformSettings(), Modulator()
    frames = TestFrames(2)
    samples = [modulator.modulate(*frame) for frame in frames]
    stream = np.concatenate([*samples, modulator.guard()])
    at = samples[0].size + 60_000  # 30 ms after the second frame's first sample
    receiver, sink = Receiver(settings), TestSink(settings=settings)
    got = receiver.push(noisy(np.delete(stream, slice(at, at + 300)))) + receiver.flush()
    records = [sink.accept(frame) for frame in got]
    assert [r["lost_samples"] for r in records] == [0, 300]
    assert records[0]["snr_db"] == pytest.approx(15, abs=0.3) and records[0]["missing"] == []
    assert records[0]["evm_percent"] == pytest.approx(17.8, abs=0.7)
    (place,) = missing(got[1], settings)
    assert place["after_ms"] < 30 - 0.024 < place["after_ms"] + 1000 * place["symbols"] / settings.symbol_rate + 0.5
    summary = sink.summary()
    assert summary["frames_hit"] == 1 and summary["lost_samples"] == 300 and summary["frames_received"] == 2


def test_images_and_test_frames_are_not_taken_for_one_another(picture, tmp_path, capsys):
    assert code("transmit", picture, "--sink", f"file:{tmp_path / 'i'}") == 0
    assert code("transmit", "--prbs", "1", "--sink", f"file:{tmp_path / 't'}") == 0
    assert code("receive", "--source", f"file:{tmp_path / 't'}", "--run", tmp_path / "a") == 1
    assert "receive it with --prbs" in capsys.readouterr().err
    assert code("receive", "--source", f"file:{tmp_path / 'i'}", "--prbs", "--run", tmp_path / "b") == 1
    assert "receive without --prbs" in capsys.readouterr().err


# dry run, settings, refusals


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(picture, tmp_path, capsys):
    file = tmp_path / "never"
    assert code("transmit", picture, "--sink", f"file:{file}", "--dry-run", "--json", tmp_path / "d.json") == 0
    assert not file.exists()
    result = json.loads((tmp_path / "d.json").read_text())
    assert code("transmit", picture, "--sink", f"file:{file}") == 0
    samples = np.fromfile(file, "<c8")
    assert result["samples"] == samples.size and result["duration_s"] == samples.size / 2e6
    assert result["peak_dbfs"] <= 1e-6 and -9 < result["mean_dbfs"] < -7  # with the header above the payload
    assert 1e6 < result["occupied_bandwidth_hz"] < result["bandwidth_hz"] == 1.25e6
    assert code("transmit", picture, "--sink", "usrp:type=b200", "--dry-run", "--back-off", "12") == 0
    printed = capsys.readouterr().out
    assert code("transmit", picture, "--sink", "pluto:", "--dry-run", "--json", tmp_path / "p.json") == 0
    whole = json.loads((tmp_path / "p.json").read_text())["samples"]
    assert whole % 16384 == 0 and whole > result["samples"], "a Pluto is given whole buffers"
    assert "back-off 12 dB" in printed and "--frequency and --gain must be given" in printed


def test_radio_settings_come_from_yaml_and_options_win(tmp_path):
    path = tmp_path / "radio.yaml"
    path.write_text("frequency: 2.4e9\ngain: -10\nsample_rate: 2000000\nclock_source: external\naddress: ip:10.0.0.1\n")
    settings = RadioSettings(gain=-20.0).over(load_radio_settings(path))
    assert settings.to_dict() == {
        "address": "ip:10.0.0.1", "frequency": 2.4e9, "gain": -20.0, "sample_rate": 2e6, "clock_source": "external",
    }  # fmt: skip
    assert settings.waveform == (1e6, 2)
    assert RadioSettings(sample_rate=1e6, symbol_rate=2.5e5).waveform == (2.5e5, 4)
    recording = RadioSettings(sample_rate=4e6, samples_per_symbol=2)
    assert RadioSettings().over(recording).waveform == (2e6, 2)
    assert RadioSettings(symbol_rate=1e6).over(recording).waveform == (1e6, 4)
    assert RadioSettings(samples_per_symbol=8).over(recording).waveform == (5e5, 8)
    assert RadioSettings(symbol_rate=1e6).over(RadioSettings(samples_per_symbol=4)).waveform == (1e6, 4)
    symbols = RadioSettings(symbol_rate=1e6, samples_per_symbol=2)
    assert RadioSettings(sample_rate=4e6).over(symbols).waveform == (1e6, 4)
    assert RadioSettings(symbol_rate=5e5, samples_per_symbol=4).over(RadioSettings(sample_rate=1e6)).waveform == (
        5e5,
        4,
    )
    assert RadioSettings(sample_rate=8e6, samples_per_symbol=4).over(symbols).waveform == (2e6, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frequency: fast", "frequency is 'fast': give a number"),
        ("frequency: -1", "frequency is -1"),
        ("buffer_size: 1.5", "give a whole number"),
        ("colour: red", "colour is unknown; a radio has address, frequency"),
        ("- 1", "give keys and values"),
        ("a: b: c", "not YAML"),
        ("{sample_rate: 1e6, symbol_rate: 1e6, samples_per_symbol: 2}", "leave one of the three out"),
    ],
)
def test_bad_radio_settings_are_refused(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(StreamError, match=message.replace("(", r"\(")):
        load_radio_settings(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["transmit", "--sink", "file:x"], "there is nothing to send"),
        (["transmit", "a.png", "--prbs", "3", "--sink", "file:x"], "leave one of them out"),
        (["transmit", "--prbs", "1", "--repeat", "-1", "--sink", "file:x"], "--repeat -1"),
        (["receive", "--source", "-", "--run", "r", "--prbs", "--task", "resnet8"], "--task: test frames (--prbs) carry no images"),
        (["receive", "--source", "-", "--run", "r", "--prbs", "--decoder", "lite"], "--decoder: test frames"),
        (["transmit", "--prbs", "1", "--sink", "file:"], "--sink 'file:' is unknown"),
        (["transmit", "--prbs", "1", "--sink", "file:/proc/never"], "cannot be written"),
        (["transmit", "--prbs", "1", "--sink", "zmq:tcp://0.0.0.0:5999"], "--keys"),
        (["transmit", "--prbs", "1", "--sink", "file:x", "--radio", "/nowhere.yaml"], "--radio /nowhere.yaml: cannot be read"),
        (["receive", "--source", "sigmf:/nowhere", "--run", "/tmp/djscc-never"], "/nowhere.sigmf-meta is not there"),
        (["receive", "--source", "file:/dev/null", "--run", "/tmp/djscc-never", "--seconds", "0"], "--seconds 0"),
        (["receive", "--source", "-", "--run", "/tmp/djscc-never", "--symbol-rate", "-3"], "symbol_rate is -3"),
        (["receive", "--source", "sigmf:/nowhere", "--run", "/tmp/djscc-never", "--sample-rate", "1e6", "--symbol-rate", "3e5"],
         "/nowhere"),
    ],
)  # fmt: skip
def test_wrong_use_is_said_clearly(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert code(*arguments) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize("sink", ["usrp:", "pluto:", "soapy:driver=lime"])
def test_a_radio_sends_nothing_before_frequency_and_gain_are_given(capsys, sink):
    pytest.importorskip("gnuradio.djscc")
    assert code("transmit", "--prbs", "1", "--sink", sink, "--frequency", "1e9") == 1
    assert "nothing is sent before --gain is given" in capsys.readouterr().err
    assert code("transmit", "--prbs", "1", "--sink", sink) == 1
    assert "before --frequency and --gain is given" in capsys.readouterr().err


def test_a_broken_recording_is_refused(tmp_path, capsys):
    (tmp_path / "r.sigmf-meta").write_text("{")
    (tmp_path / "r.sigmf-data").write_bytes(b"")
    assert code("receive", "--source", f"sigmf:{tmp_path / 'r'}", "--run", tmp_path / "run") == 1
    assert "not a SigMF recording" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("capture", "annotation", "channels", "message"),
    [
        ({"core:global_index": "many"}, {}, 1, "not a SigMF recording"),
        ({"core:global_index": 10.5}, {}, 1, "core:global_index is 10.5, no whole number"),
        ({}, {"djscc:first": "2", "djscc:noticed": 3}, 1, "djscc:first is '2', no whole number"),
        ({}, {}, 2, "holds 2 channels side by side"),
    ],
)
def test_recordings_of_others_that_say_odd_things_are_refused(tmp_path, capsys, capture, annotation, channels, message):
    (tmp_path / "r.sigmf-meta").write_text(
        json.dumps(
            {
                "global": {"core:datatype": "cf32_le", "core:version": "1.0.0", "core:num_channels": channels},
                "captures": [{"core:sample_start": 0} | capture],
                "annotations": [{"core:sample_start": 0, "core:sample_count": 1, "core:label": "overrun"} | annotation],
            }
        )
    )
    np.zeros(64, "<c8").tofile(tmp_path / "r.sigmf-data")
    assert code("receive", "--source", f"sigmf:{tmp_path / 'r'}", "--run", tmp_path / "run") == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_a_recording_with_many_gaps_writes_its_metadata_seldom(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Recorder, "_save", lambda self, save=Recorder._save: (written.append(1), save(self)))
    recorder = Recorder(tmp_path / "r", About())
    for _ in range(50):
        recorder.write(np.ones(10, np.complex64))
        recorder.gap(5)
    assert len(written) == 2, "at the start, and at the first samples"
    recorder.close()
    items = list(SigmfSource(tmp_path / "r"))
    assert [item for item in items if isinstance(item, Gap)] == 49 * [Gap(5)]
    assert sum(len(item) for item in items if isinstance(item, np.ndarray)) == 500
    assert len(read_metadata(tmp_path / "r")["captures"]) == 50


@pytest.mark.parametrize(("takes", "begun", "taken"), [(100, True, 100), (40, True, 40), (40, False, 20), (0, True, 0)])
def test_ctrl_c_ends_a_transmission_after_the_frame_that_is_being_sent(monkeypatch, takes, begun, taken):
    """Also where the other end takes a while; one that takes no more is not waited for, nor is a frame begun."""
    monkeypatch.setattr("djscc.cli.transmit.STALL_S", 0.1)
    interrupt, waiting = Interrupt(), _Waiting(parse_endpoint("file:x", "--sink"))
    interrupt.interrupted = True
    assert _deliver(_SlowSink(takes), np.zeros(100, np.complex64), interrupt, waiting, begun) == taken


class _SlowSink:
    """Takes twenty samples at a time, so many in all."""

    def __init__(self, takes):
        self.taken, self._takes = 0, takes

    def write(self, samples):
        time.sleep(0.01)
        self.taken = min(self.taken + 20, self._takes)
        return self.taken == len(samples)


def test_endpoints_are_told_apart():
    assert parse_endpoint("pluto:ip:10.0.0.1", "--sink").address == "ip:10.0.0.1"
    assert parse_endpoint("pluto:ip:10.0.0.1", "--sink").at("ip:10.0.0.2").address == "ip:10.0.0.1"
    assert parse_endpoint("pluto:", "--sink").at("ip:10.0.0.2").address == "ip:10.0.0.2"
    assert parse_endpoint("pluto:", "--sink").at(None).address == parse_endpoint("-", "--sink").at("x").address == ""
    assert parse_endpoint("usrp:", "--sink").hardware and not parse_endpoint("-", "--sink").hardware
    for text in ("file", "-:x", ":x", "tcp:x"):
        with pytest.raises(StreamError, match="is unknown"):
            parse_endpoint(text, "--sink")


def test_events_are_counted_and_written_once():
    lines = []
    events = RadioEvents(lines.append)
    for sample in (5, 9):
        events.add("overruns", "usrp", sample, lost_samples=10)
    events.add("underruns", "usrp")
    events.flush()
    events.flush()
    assert events.counts["overruns"] == 2 and events.counts["lost_samples"] == 20
    assert lines == [
        {"event": "overruns", "device": "usrp", "count": 2, "lost_samples": 20, "sample": 5},
        {"event": "underruns", "device": "usrp", "count": 1, "lost_samples": 0},
    ]
