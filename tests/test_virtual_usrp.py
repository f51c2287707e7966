# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual USRPs: the UHD module and the unmodified gr-uhd blocks through the air, bursts, times, overruns, refusals."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from djscc.virtual_radio import AirSettings, RadioServer, RadioSettings
from djscc.virtual_radio.usrp import PORT, module_folder
from djscc.waveform import WaveformSettings
from virtual_radio_support import (
    UNTIL_TOLD,
    address,
    burst,
    finished,
    flowgraph,
    frequency_of,
    received,
    wait_for_samples,
)

try:
    from gnuradio import uhd  # noqa: F401

    WITHOUT = "" if module_folder() else "the UHD module was not built (libuhd-dev is missing) or not installed"
except ImportError as error:
    WITHOUT = f"gr-uhd cannot be imported: {error}"
needs_uhd = pytest.mark.skipif(bool(WITHOUT), reason=WITHOUT or "-")
MODULE = {"UHD_MODULE_PATH": str(module_folder())}
RATE = 1e6


@contextmanager
def usrps(*radios: RadioSettings, **settings: Any) -> Iterator[tuple[RadioServer, list[str]]]:
    """A server of USRPs, and the device arguments of each."""
    addresses = [address() for _ in radios]
    placed = tuple(
        RadioSettings(**{**radio.__dict__, "kind": "usrp", "address": a})
        for radio, a in zip(radios, addresses, strict=True)
    )
    with RadioServer(AirSettings(radios=placed, **{"path_loss_db": 60, **settings})) as server:
        yield server, [f"type=virtual,addr={a}" for a in addresses]


SENDER = """
from gnuradio import uhd
args, rate, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
sink = uhd.usrp_sink(args, uhd.stream_args(cpu_format='fc32', channels=[0]), '')
sink.set_samp_rate(rate); sink.set_center_freq(915e6, 0); sink.set_gain(79.75, 0); sink.set_antenna('TX/RX', 0)
source = analog.sig_source_c(rate, analog.GR_COS_WAVE, 0.05 * rate, 0.5) if path == 'tone' else blocks.file_source(8, path, False)
top = gr.top_block()
top.connect(source, sink)
"""
RECEIVER = """
from gnuradio import uhd
args, rate, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
source = uhd.usrp_source(args, uhd.stream_args(cpu_format='fc32', channels=[0]))
source.set_samp_rate(rate); source.set_center_freq(uhd.tune_request(915e6, 2e6), 0); source.set_gain(60, 0)
sink = blocks.file_sink(8, path); sink.set_unbuffered(True)
top = gr.top_block()
top.connect(source, sink)
"""


@needs_uhd
def test_uhd_finds_them_and_gr_uhd_reads_back_what_it_set(tmp_path: Path) -> None:
    with usrps(RadioSettings(serial="MINE"), RadioSettings()) as (_, (first, _second)):
        program = """
from gnuradio import uhd
import json
source = uhd.usrp_source(sys.argv[1].replace('virtual', 'b200'), uhd.stream_args(cpu_format='fc32', channels=[0]))
source.set_samp_rate(1e6); source.set_center_freq(9e9, 0); source.set_gain(500, 0)
source.set_antenna('RX2', 0); source.set_clock_source('external', 0)
source.set_time_now(uhd.time_spec_t(1000.25))
try:
    source.set_antenna('J1', 0); refused = ''
except RuntimeError as error:
    refused = str(error)
print(json.dumps([source.get_samp_rate(),
    source.get_center_freq(0), source.get_gain(0), refused, str(source.get_sensor('lo_locked', 0)),
    source.get_time_now().get_real_secs(),
    source.get_usrp_info().get('mboard_serial')]))
"""
        out, _ = finished(flowgraph(program, first, **MODULE))
        rate, frequency, gain, refused, locked, now, serial = json.loads(out.splitlines()[-1])
        assert (rate, gain, serial) == (1e6, 76, "MINE")
        assert 6e9 <= frequency < 6.04e9  # as far as oscillator and digital mixer go
        assert "J1" in refused
        assert "locked" in locked
        assert 1000.25 <= now < 1010
        if shutil.which("uhd_find_devices"):
            found = subprocess.run(
                ["uhd_find_devices", "--args", first],
                env=MODULE | {"PATH": "/usr/bin"},
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert found.stdout.count("serial: MINE") == 1, found.stderr


@needs_uhd
def test_a_radio_off_loopback_is_refused() -> None:
    program = "from gnuradio import uhd\nuhd.usrp_source(sys.argv[1], uhd.stream_args(cpu_format='fc32'))"
    process = flowgraph(program, "type=virtual,addr=192.168.10.2", **MODULE)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "No devices found" in err


@needs_uhd
def test_frames_between_two_processes_show_the_errors_that_were_set(tmp_path: Path) -> None:
    settings = WaveformSettings(RATE / 2, 2)
    samples, payloads = burst(settings)
    sent, path = tmp_path / "sent.cf32", tmp_path / "received.cf32"
    samples.tofile(sent)
    with usrps(RadioSettings(lo_ppm=20.0, clock_ppm=20.0), RadioSettings(clock_ppm=-10.0), clock="stream") as (
        _,
        (first, second),
    ):
        listener = flowgraph(RECEIVER + UNTIL_TOLD, second, RATE, path, **MODULE)
        wait_for_samples(path)
        finished(flowgraph(SENDER + "top.run(); time.sleep(1)", first, RATE, sent, **MODULE))
        finished(listener)
    frames = received(np.fromfile(path, np.complex64), settings)
    assert [frame.header.frame_number for frame in frames] == [0, 1]
    for frame, payload in zip(frames, payloads, strict=True):
        assert frame.report.cfo_hz == pytest.approx(915e6 * 20e-6, abs=2)
        assert frame.report.clock_ppm == pytest.approx(30, abs=1.5)
        assert frame.report.lost_samples == 0
        assert np.mean(np.abs(frame.symbols - payload) ** 2) < 10**-2


BURSTS = """
from gnuradio import uhd
import pmt
args, path = sys.argv[1], sys.argv[2]
rate = 1e6
stream = uhd.stream_args(cpu_format='fc32', channels=[0])
sink, source = uhd.usrp_sink(args, stream, ''), uhd.usrp_source(args, stream)
for block, gain in ((sink, 79.75), (source, 60)):
    block.set_samp_rate(rate); block.set_center_freq(915e6, 0); block.set_gain(gain, 0)
source.set_time_now(uhd.time_spec_t(0))
def tags(at, length, when):
    given = [(at, 'tx_sob', pmt.PMT_T), (at + length - 1, 'tx_eob', pmt.PMT_T)]
    if when is not None:
        given.append((at, 'tx_time', pmt.make_tuple(pmt.from_uint64(int(when)), pmt.from_double(when % 1))))
    return [gr.tag_utils.python_to_tag((o, pmt.intern(k), v)) for o, k, v in given]
# the third comes too late; the last, more than all buffers hold, keeps the sink alive, without which messages are not taken
plan = [(1.75, 20000), (2.0, 20000), (1.5, 20000), (2.2, 4000000)]
samples = np.concatenate([0.5 * np.exp(2j * np.pi * 0.1 * np.arange(n)) for _, n in plan])
starts = np.cumsum([0] + [n for _, n in plan])
all_tags = sum([tags(int(at), n, when) for at, (when, n) in zip(starts, plan)], [])
top = gr.top_block()
told = blocks.message_debug()
bursts = blocks.vector_source_c(samples, False, 1, all_tags)
top.connect(bursts, sink)
heard = blocks.vector_sink_c()
slowly, head = blocks.throttle(8, rate), blocks.head(8, 2400000)  # air time goes on as it is heard: the first burst has 1.75 s
top.connect(source, slowly, head, heard)
top.msg_connect(sink, 'async_msgs', told, 'store')
top.start()
while head.nitems_written(0) < 2400000: time.sleep(0.1)
until = time.monotonic() + 10
while told.num_messages() < 3 and time.monotonic() < until: time.sleep(0.1)  # they come in a thread of their own
top.stop(); top.wait()
np.array(heard.data(), np.complex64).tofile(path)
first = [pmt.to_python(t.value) for t in heard.tags() if str(t.key) == 'rx_time'][0]
print('rx_time', first[0] + first[1])
for i in range(told.num_messages()):
    print('event', told.get_message(i))
"""


@needs_uhd
def test_bursts_leave_at_their_time_and_late_ones_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "heard.cf32"
    with usrps(RadioSettings(), clock="stream") as (server, (args,)):
        out, err = finished(flowgraph(BURSTS, args, path, **MODULE))
        assert server.check() is None
    begins = float(next(line.split()[1] for line in out.splitlines() if line.startswith("rx_time")))
    came = np.abs(np.fromfile(path, np.complex64))
    active = came > came.max() / 2
    edges = np.flatnonzero(np.diff(active.astype(int)))
    rising, falling = edges[0::2] + 1, edges[1::2] + 1
    assert (len(rising), len(falling)) == (3, 2), out + err
    assert begins + rising[2] / RATE == pytest.approx(2.2, abs=3e-6)
    for start, stop, when in zip(rising[:2], falling, (1.75, 2.0), strict=True):
        assert begins + start / RATE == pytest.approx(when, abs=3e-6)
        assert stop - start == pytest.approx(20_000, abs=3)
    assert out.count("burst_ack") == 2
    assert out.count("time_error") == 1
    assert err.splitlines()[-1] == "L"  # as UHD prints it


@needs_uhd
def test_a_slow_graph_overruns_on_a_real_clock_and_the_time_tags_jump_by_what_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "received.cf32"
    tags = (
        """
tags = blocks.tag_debug(8, '', 'rx_time'); tags.set_display(False); tags.set_save_all(True)
top.connect(source, blocks.throttle(8, 3e5), tags)
"""
        + UNTIL_TOLD
        + """
import pmt
for tag in tags.current_tags():
    whole, fraction = pmt.to_python(tag.value)
    print('tag', tag.offset, whole + fraction)
"""
    )
    with usrps(RadioSettings(buffers=1)) as (_, (args,)):
        process = flowgraph(RECEIVER + tags, args, RATE, path, **MODULE)
        wait_for_samples(path, 600_000)
        out, err = finished(process)
    assert "O" in err
    jumps = [tuple(map(float, line.split()[1:])) for line in out.splitlines() if line.startswith("tag")]
    assert len(jumps) >= 2, out
    (at, when), (later, then) = jumps[:2]
    lost = (then - when) * RATE - (later - at)
    assert lost > 1000
    assert lost == pytest.approx(round(lost), abs=0.01)


@needs_uhd
def test_a_transmitter_that_is_too_slow_underruns_and_says_so() -> None:
    with usrps(RadioSettings()) as (_, (args,)):
        slow = SENDER.replace("(source, sink)", "(source, blocks.throttle(8, 2e5), sink)")
        _, err = finished(
            flowgraph(slow + "top.start(); time.sleep(2); top.stop(); top.wait()", args, RATE, "tone", **MODULE)
        )
    assert "U" in err.replace("UHD", "")


def test_what_no_client_should_say_harms_nobody() -> None:
    with usrps(RadioSettings()) as (server, (args,)):
        host = args.split("addr=")[1]
        for purpose in (
            b"NOTHING\n",
            b"\xff" * 2000 + b"\n",
            b"TX\n" + b"\xff" * 4096,
            b"RX\nstart x\n",
            b"RX\nstart 10 1 0 0\n",
        ):
            with socket.create_connection((host, PORT), 10) as client:
                client.sendall(purpose)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
        with socket.create_connection((host, PORT), 10) as client:
            client.sendall(b"CONTROL\nset rx.gain 1000\nset rx.frequency x\nset no.thing 1\nget rx.gain\n")
            answers = client.makefile("rb")
            for _ in range(3):
                assert answers.readline().startswith(b"error")
            assert float(answers.readline()) == server.air.radios[0].receiver.gain
        server.check()


@needs_uhd
def test_a_tone_in_one_process_keeps_its_level(tmp_path: Path) -> None:
    path = tmp_path / "received.cf32"
    with usrps(RadioSettings(), clock="stream") as (_, (args,)):
        program = (
            SENDER + "transmitter = top\nsys.argv[3] = sys.argv[4]\n" + RECEIVER + "transmitter.start()" + UNTIL_TOLD
        )
        process = flowgraph(program + "transmitter.stop(); transmitter.wait()", args, RATE, "tone", path, **MODULE)
        wait_for_samples(path, 700_000)
        finished(process)
    came = np.fromfile(path, np.complex64)[400_000:700_000]
    assert frequency_of(came, RATE) == pytest.approx(0.05 * RATE, abs=0.2)
    assert 10 * np.log10(np.mean(np.abs(came) ** 2)) == pytest.approx(-6.02 + 0 - 60 + 62 - 16, abs=0.2)


SOAPY_DRIVER = next(Path("/usr/lib").glob("*/SoapySDR/modules*/libuhdSupport.so"), None)
needs_soapy = pytest.mark.skipif(SOAPY_DRIVER is None, reason="soapysdr-module-uhd is not installed")
REFUSALS = """
import sys
from djscc.cli import main
command = sys.argv[1:]
for option, value in (("--gain", "200"), ("--frequency", "9e9"), ("--antenna", "J1"), ("--clock-source", "moon")):
    assert main([*command, option, value]) == 1
"""


@needs_uhd
@needs_soapy
def test_an_image_through_soapysdr_by_its_driver_of_uhd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UHD_MODULE_PATH", str(module_folder()))
    djscc = [sys.executable, "-u", "-m", "djscc.cli"]

    def end(command: str, args: str, gain: float, *more: Any) -> list[str]:
        way = "--sink" if "transmit" in command else "--source"
        radio = [way, f"soapy:driver=uhd,{args}", "--frequency", 9e8, "--symbol-rate", 2e5, "--gain", gain]
        return [str(a) for a in (*djscc, *command.split(), *radio, *more)]

    run = tmp_path / "run"
    with usrps(RadioSettings(lo_ppm=5.0), RadioSettings(), path_loss_db=85) as (_, (first, second)):
        receiver = subprocess.Popen(
            end("receive", second, 70, "--run", run, "--decoder", "lite", "--frames", 2, "--seconds", 60),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert receiver.stdout is not None
        said = ""
        while "gain" not in said:
            line = receiver.stdout.readline()
            assert line, said
            said += line
        send = end("transmit landsat", first, 80, "--limit", 16, "--tiles-per-frame", 8, "--ratio", "1/24")
        refused = subprocess.run(
            [sys.executable, "-c", REFUSALS, *send[4:]], check=True, stderr=subprocess.PIPE, text=True, timeout=60
        )
        for message in (
            "--gain 200 dB is outside of the device's 0 to 89.75 dB",
            "--frequency 9000000000 Hz is outside of the device's",
            "--antenna 'J1' is not there; the device has TX/RX",
            "--clock-source 'moon' is not there",
        ):
            assert message in refused.stderr
        subprocess.run(send, check=True, timeout=60)
        said += receiver.communicate(timeout=60)[0]
    assert receiver.returncode == 0, said
    records = [json.loads(line) for line in (run / "frames.jsonl").read_text().splitlines()]
    assert [record["frame_number"] for record in records] == [0, 1], said
    for record in records:
        assert record["cfo_hz"] == pytest.approx(9e8 * 5e-6, abs=5)
        assert record["erased"] == 0 and record["snr_est_db"] > 10
