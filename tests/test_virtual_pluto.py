# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual Plutos: IIOD's protocol, refused attributes, and the unmodified gr-iio blocks through the air."""

from __future__ import annotations

import errno
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from djscc.cli import main
from djscc.radio import RadioEvents
from djscc.virtual_radio import AirSettings, RadioServer, RadioSettings, VirtualRadioError
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
    from gnuradio import iio  # noqa: F401

    WITHOUT_IIO = ""
except ImportError as error:
    WITHOUT_IIO = f"gr-iio cannot be imported: {error}"
needs_iio = pytest.mark.skipif(bool(WITHOUT_IIO), reason=WITHOUT_IIO or "-")

PHY, DAC, ADC = "iio:device0", "iio:device2", "iio:device3"
RATE = 1_000_000


class Client:
    """Speaks IIOD's protocol as libiio does."""

    def __init__(self, host: str) -> None:
        self._socket = socket.create_connection((host, 30431), 10)
        self._input = self._socket.makefile("rb")

    def ask(self, line: str, data: bytes = b"") -> int:
        self._socket.sendall(line.encode() + b"\r\n" + data)
        return int(self._input.readline())

    def print(self) -> str:
        length = self.ask("PRINT")
        return self._input.read(length + 1).decode()

    def read(self, place: str) -> str | int:
        length = self.ask(f"READ {place}")
        return length if length < 0 else self._input.read(length + 1).rstrip(b"\n\0").decode()

    def write(self, place: str, value: Any) -> int:
        data = str(value).encode() + b"\0"
        return self.ask(f"WRITE {place} {len(data)}", data)

    def samples(self, count: int, device: str = ADC) -> np.ndarray[Any, Any]:
        length = self.ask(f"READBUF {device} {4 * count}")
        assert length == 4 * count
        assert self._input.readline() == b"00000003\n"
        return np.frombuffer(self._input.read(length), np.int16).reshape(-1, 2)

    def status(self, device: str) -> int:
        self.write(f"{device} DEBUG direct_reg_access", "0x80000088")
        return int(str(self.read(f"{device} DEBUG direct_reg_access")), 0)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def plutos(*radios: RadioSettings, **settings: Any) -> Iterator[tuple[RadioServer, list[str]]]:
    """A server of Plutos, and their addresses."""
    addresses = [address() for _ in radios]
    placed = tuple(
        RadioSettings(**{**radio.__dict__, "address": a}) for radio, a in zip(radios, addresses, strict=True)
    )
    with RadioServer(AirSettings(radios=placed, **{"path_loss_db": 60, **settings})) as server:
        yield server, addresses


def test_attributes_are_read_written_and_refused_as_a_pluto_does() -> None:
    with plutos(RadioSettings()) as (server, (host,)):
        client = Client(host)
        assert 'name="ad9361-phy"' in client.print()
        lo, gain = f"{PHY} OUTPUT altvoltage0 frequency", f"{PHY} INPUT voltage0 hardwaregain"
        assert client.write(lo, 2_400_000_000) > 0
        assert client.read(lo) == "2400000000"
        assert client.read(f"{PHY} OUTPUT RX_LO frequency") == "2400000000"
        for value in ("7000000000", "1000", "fast", "", "nan", "2.4e9"):
            assert client.write(lo, value) == -errno.EINVAL, value
        assert client.read(lo) == "2400000000"
        assert client.write(gain, 30) == -errno.EINVAL  # its gain control is on
        assert client.write(f"{PHY} INPUT voltage0 gain_control_mode", "loud") == -errno.EINVAL
        assert client.write(f"{PHY} INPUT voltage0 gain_control_mode", "manual") > 0
        assert client.write(gain, "30.000000") > 0
        assert client.read(gain) == "30.000000 dB"
        assert client.write(gain, 74) == -errno.EINVAL
        assert client.write(f"{PHY} OUTPUT voltage0 hardwaregain", 1) == -errno.EINVAL
        assert client.write(f"{PHY} OUTPUT voltage0 hardwaregain", -89.75) > 0
        rate = f"{PHY} INPUT voltage0 sampling_frequency"
        assert client.write(rate, RATE) == -errno.EINVAL  # too low without its filter
        assert client.write(f"{PHY} INPUT out voltage_filter_fir_en", 1) > 0
        assert client.write(rate, RATE) > 0
        assert client.write(rate, 520_000) == -errno.EINVAL
        assert client.write(f"{ADC} INPUT voltage0 sampling_frequency", RATE // 8) > 0
        assert server.air.radios[0].receiver.rate == RATE / 8
        assert client.write(f"{PHY} INPUT out voltage_filter_fir_en", 0) == -errno.EINVAL
        assert client.read(f"{PHY} INPUT voltage9 rssi") == -errno.ENOENT
        assert client.read(f"{PHY} nothing") == -errno.ENOENT
        assert client.read("iio:device9 x") == -errno.ENODEV
        assert client.write(f"{PHY} INPUT voltage0 rssi", 3) == -errno.EACCES
        client.close()


def test_what_no_client_should_say_harms_nobody() -> None:
    with plutos(RadioSettings()) as (_, (host,)):
        client = Client(host)
        for line in (
            "NONSENSE",
            "READ",
            f"OPEN {ADC} 0 00000003",
            f"OPEN {ADC} 99999999999 00000003",
            f"OPEN {PHY} 9 00000003",
        ):
            assert client.ask(line) < 0, line
        assert client.ask(f"OPEN {ADC} 1024 00000001") == -errno.EINVAL
        assert client.ask(f"READBUF {ADC} 4096") == -errno.EBADF
        assert client.ask(f"WRITEBUF {DAC} 4096") == -errno.EBADF
        assert client.ask(f"OPEN {ADC} 1024 00000003") == 0
        other = Client(host)
        assert other.ask(f"OPEN {ADC} 1024 00000003") == -errno.EBUSY
        client._socket.sendall(b"\xff\xfe" * 3000 + b"\n")
        client._socket.sendall(f"WRITE {PHY} x 99999999999\r\n".encode())
        client.close()
        deadline = time.monotonic() + 10
        while other.ask(f"OPEN {ADC} 1024 00000003") != 0:  # what the first had open is free again
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(other.samples(1024)) == 1024
        other.close()
        with pytest.raises(VirtualRadioError, match="another virtual radio"):
            RadioServer(AirSettings(radios=(RadioSettings(address=host),))).start()


def test_an_overrun_sets_the_flag_and_loses_whole_buffers() -> None:
    with plutos(RadioSettings()) as (server, (host,)):
        client = Client(host)
        assert client.ask(f"SET {ADC} BUFFERS_COUNT 2") == 0
        assert client.ask(f"OPEN {ADC} 8192 00000003") == 0
        client.samples(8192)
        time.sleep(0.3)  # at 2.5 MS/s, two buffers are 6.6 ms, and the least that waits is 64 ms
        for _ in range(40):
            client.samples(8192)
        control = Client(host)
        assert control.status(ADC) == 4
        assert control.status(DAC) == 0
        control.write(f"{ADC} DEBUG direct_reg_access", "0x80000088 0x4")
        assert control.status(ADC) == 0
        stream = server.air.radios[0].receiver.stream
        assert stream is not None
        assert stream.lost_samples >= 8192
        client.close()
        control.close()


def test_gain_control_brings_a_signal_to_its_level() -> None:
    with plutos(RadioSettings(), clock="stream") as (server, (host,)):
        radio = server.air.radios[0]
        sender, client = Client(host), Client(host)
        assert sender.ask(f"OPEN {DAC} 8192 00000003 CYCLIC") == 0
        wave = np.tile(np.array([[20000, 0], [0, 20000], [-20000, 0], [0, -20000]], np.int16), (2048, 1))
        assert sender.ask(f"WRITEBUF {DAC} {wave.nbytes}", wave.tobytes()) == wave.nbytes
        assert client.ask(f"OPEN {ADC} 65536 00000003") == 0
        for _ in range(20):
            last = client.samples(65536)
        assert radio.receiver.gain > 35  # it started at 30 dB
        power = 10 * np.log10(np.mean(np.sum((last / 2048.0) ** 2, 1)))
        assert power == pytest.approx(-15, abs=3)
        sender.close()
        client.close()


def test_the_command_runs_and_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hosts, result = f"{address()},{address()}", tmp_path / "air.json"
    options = ["--radios", "2", "--address", hosts, "--lo-ppm", "20,0", "--snr", "10", "--symbol-rate", "5e5"]
    assert main(["virtual-pluto", *options, "--echo", "1.5,-10", "--seconds", "0.3", "--json", str(result)]) == 0
    printed = capsys.readouterr().out
    assert f"pluto 0: ip:{hosts.split(',')[0]}, oscillators +20 ppm" in printed
    assert "Es/N0 10.0 dB at 500000 symbols/s; real clock" in printed
    said = json.loads(result.read_text())
    assert said["settings"]["echoes"] == [[1.5e-6, -10.0, 0.0]]
    assert 0.2 < said["air_seconds"] < 5
    for wrong, word in (
        (["--address", "10.0.0.1"], "loopback"),
        (["--lo-ppm", "1,2,3"], "one for each"),
        (["--snr", "3", "--path-loss", "60"], "both say the loss"),
        (["--channel", "nothing"], "no preset"),
    ):
        assert main(["virtual-pluto", *wrong, "--seconds", "0.1"]) == 1
        assert word in capsys.readouterr().err


SENDER = """
from gnuradio import iio
uri, rate, frequency, attenuation, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
top = gr.top_block()
sink = iio.fmcomms2_sink_fc32(uri, [True, True], 8192, False)
sink.set_len_tag_key(''); sink.set_bandwidth(1000000); sink.set_frequency(frequency); sink.set_samplerate(rate)
sink.set_attenuation(0, attenuation); sink.set_filter_params('Auto', '', 0, 0)
source = analog.sig_source_c(rate, analog.GR_COS_WAVE, 0.05 * rate, 0.5) if path == 'tone' else blocks.file_source(8, path, False)
top.connect(source, sink)
"""
RECEIVER = """
from gnuradio import iio
uri, rate, frequency, gain, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]
top = gr.top_block()
source = iio.fmcomms2_source_fc32(uri, [True, True], 8192)
source.set_len_tag_key(''); source.set_frequency(frequency); source.set_samplerate(rate)
for _ in range(2): source.set_gain_mode(0, 'manual')
source.set_gain(0, gain); source.set_quadrature(True); source.set_rfdc(True); source.set_bbdc(True)
source.set_filter_params('Auto', '', 0, 0)
sink = blocks.file_sink(8, path)
top.connect(source, sink)
"""


@needs_iio
def test_a_tone_through_the_unmodified_blocks_in_one_process(tmp_path: Path) -> None:
    path = tmp_path / "received.cf32"
    with plutos(RadioSettings(), clock="stream") as (_, (host,)):
        program = (
            SENDER
            + "transmitter = top\nsys.argv[1:] = [uri, sys.argv[2], sys.argv[3], '33', sys.argv[6]]\n"
            + RECEIVER
            + f"transmitter.start()\n{UNTIL_TOLD}\ntransmitter.stop(); transmitter.wait()"
        )
        process = flowgraph(program, f"ip:{host}", RATE, 915_000_000, 10, "tone", path)
        wait_for_samples(path, 500_000)
        finished(process)
    came = np.fromfile(path, np.complex64)[300_000:500_000]
    assert frequency_of(came, RATE) == pytest.approx(0.05 * RATE, abs=0.2)
    assert 10 * np.log10(np.mean(np.abs(came) ** 2)) == pytest.approx(-6.02 - 10 - 60 + 65 - 40, abs=0.2)


BANDWIDTH = """
from djscc.radio import RadioEvents, RadioSettings, parse_endpoint
from gnuradio.djscc.pluto_front_end import pluto_source
radio = RadioSettings(frequency=915e6, gain=30, bandwidth=float(sys.argv[2]))
print(pluto_source(parse_endpoint('pluto:' + sys.argv[1], '--source'), radio, 1e6, 6e5, RadioEvents()).actual['bandwidth'])
"""


@needs_iio
def test_the_receivers_bandwidth_is_set_or_refused() -> None:
    with plutos(RadioSettings()) as (server, (host,)):
        out, _ = finished(flowgraph(BANDWIDTH, f"ip:{host}", 700_000))
        assert float(out) == server.air.radios[0].receiver.bandwidth == 700_000
        process = flowgraph(BANDWIDTH, f"ip:{host}", 90_000_000)
        assert "--bandwidth 90000000 Hz: refused by the device" in process.communicate(timeout=60)[1]


@needs_iio
def test_frames_between_two_processes_show_the_errors_that_were_set(tmp_path: Path) -> None:
    settings = WaveformSettings(RATE / 2, 2)
    samples, payloads = burst(settings)
    sent, path = tmp_path / "sent.cf32", tmp_path / "received.cf32"
    samples.tofile(sent)
    radios = (RadioSettings(lo_ppm=20.0, clock_ppm=20.0), RadioSettings(clock_ppm=-10.0))
    with plutos(*radios, clock="stream") as (_, (first, second)):
        listener = flowgraph(RECEIVER + UNTIL_TOLD, f"ip:{second}", RATE, 915_000_000, 60, path)
        wait_for_samples(path)
        sender = flowgraph(
            SENDER + "top.start(); top.wait(); time.sleep(1)", f"ip:{first}", RATE, 915_000_000, 10, sent
        )
        finished(sender)
        finished(listener)
    frames = received(np.fromfile(path, np.complex64), settings)
    assert [frame.header.frame_number for frame in frames] == [0, 1]
    for frame, payload in zip(frames, payloads, strict=True):
        assert frame.report.cfo_hz == pytest.approx(915e6 * 20e-6, abs=2)
        assert frame.report.clock_ppm == pytest.approx(30, abs=1.5)
        assert frame.report.lost_samples == 0
        assert np.mean(np.abs(frame.symbols - payload) ** 2) < 10**-2


@needs_iio
def test_a_slow_graph_overruns_on_a_real_clock_and_says_so(tmp_path: Path) -> None:
    with plutos(RadioSettings()) as (server, (host,)):
        slow = RECEIVER.replace("(source, sink)", "(source, blocks.throttle(8, 2e5), sink)")
        process = flowgraph(slow + UNTIL_TOLD, f"ip:{host}", RATE, 915_000_000, 60, tmp_path / "received.cf32")
        wait_for_samples(tmp_path / "received.cf32", 600_000)
        out, _ = finished(process)
        assert "O" in out  # gr-iio prints it itself
        assert server.air.radios[0].receiver.stream is None


@needs_iio
def test_a_flag_of_lost_samples_is_counted_once_with_the_place_that_it_may_be_at(monkeypatch) -> None:
    from gnuradio.djscc import pluto_front_end

    class Converter:
        flags, gone = pluto_front_end.OVERFLOW, False

        def reg_read(self, register: int) -> int:
            assert register == pluto_front_end.STATUS_REGISTER
            if self.gone:
                raise OSError("no such device")
            return self.flags

        def reg_write(self, register: int, value: int) -> None:
            self.flags &= ~value

    monkeypatch.setattr(pluto_front_end, "LOOK_S", 0.0)
    events, device, places = RadioEvents(), Converter(), iter([0, 1000, 2000, 3000, 4000, 5000])
    flags = pluto_front_end._Flags(device, True, events, lambda: next(places), 400)
    marks: list[tuple[int, int]] = []
    flags.on_overrun = lambda first, last: marks.append((first, last))
    flags.look()  # what was set before the stream began
    assert device.flags == 0
    flags.look()
    device.flags = pluto_front_end.OVERFLOW | pluto_front_end.UNDERFLOW
    flags.look()
    assert device.flags == pluto_front_end.UNDERFLOW  # of the other direction
    flags.look()
    assert events.counts["overruns"] == 1 and marks == [(1000, 2400)]
    device.gone = True
    flags.look()  # the stream tells, not this
    assert events.counts["overruns"] == 1
