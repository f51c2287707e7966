# SPDX-License-Identifier: GPL-3.0-or-later
"""Links: addresses, keys, samples over ZeroMQ, and a channel process between two ends that start in any order."""

from __future__ import annotations

import contextlib
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zmq
from djscc.campaign.sender import FrameSource
from djscc.channels import load_channel
from djscc.cli import main
from djscc.codec import load_codec
from djscc.errors import DjsccError
from djscc.imagery import TileSet
from djscc.links import (
    Link,
    LinkError,
    MetricsPublisher,
    MetricsSubscriber,
    SampleReceiver,
    SampleSender,
    Security,
    load_keys,
    make_keys,
    parse_address,
)
from djscc.links import sockets as links_sockets
from djscc.links.channel import ChannelProcess, open_sink, open_source
from djscc.links.keys import KeysError
from djscc.links.metrics import png_of_tiles, tiles_of_png
from djscc.links.samples import CHUNK
from djscc.waveform import Modulator, Receiver, WaveformSettings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ramp(count: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + count).astype(np.complex64)


def read_all(receiver: SampleReceiver, seconds: float = 10) -> np.ndarray:
    """Samples up to the end of a transmission."""
    parts, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        samples = receiver.read(0.1)
        if samples is not None and not len(samples):
            break
        if samples is not None:
            parts.append(samples)
    return np.concatenate(parts) if parts else np.empty(0, np.complex64)


@pytest.mark.parametrize(
    ("text", "bind", "local"),
    [
        ("tcp://127.0.0.1:5557", True, True),
        ("tcp://127.9.9.9:5557", False, True),
        ("tcp://localhost:5557", False, True),
        ("tcp://[::1]:5557", True, True),
        ("ipc:///tmp/link", True, True),
        ("tcp://*:5557", True, False),
        ("tcp://0.0.0.0:5557", True, False),
        ("tcp://eth0:5557", True, False),
        ("tcp://192.168.2.1:5557", False, False),
        ("tcp://ground.example:5557", False, False),
        ("tcp://127.0.0.1.example:5557", False, False),
    ],
)
def test_what_leaves_this_machine(text, bind, local):
    assert parse_address(text, bind).local == local


@pytest.mark.parametrize(
    "text", ["5557", "tcp://host", "tcp://:5557", "udp://127.0.0.1:1", "tcp://h:x", "tcp://*:5557"]
)
def test_bad_addresses_name_a_good_one(text):
    with pytest.raises(LinkError, match=r"tcp://|other end's host"):
        parse_address(text, bind=False)


def test_role_in_the_address():
    assert parse_address("bind:tcp://*:1", bind=False).bind
    assert not parse_address("connect:tcp://host:1", bind=True).bind


def test_beyond_loopback_needs_keys_or_the_word(caplog):
    with pytest.raises(LinkError, match="--keys"):
        SampleSender("tcp://0.0.0.0:*")
    sender = SampleSender("tcp://0.0.0.0:*", Security(insecure=True))
    sender.close()
    assert "WITHOUT KEYS" in caplog.text


def test_address_in_use():
    with Link(zmq.PUB, "tcp://127.0.0.1:*", True) as link, pytest.raises(LinkError, match="another address"):
        Link(zmq.PUB, link.endpoint, True)


def test_key_folders(tmp_path):
    ground, flight = make_keys([tmp_path / "ground", tmp_path / "flight"])
    assert stat.S_IMODE((tmp_path / "ground" / "own.key_secret").stat().st_mode) == 0o600
    assert [name for name, _ in ground.peers] == ["flight"]
    assert ground.server("anywhere") == flight.public
    again = make_keys([tmp_path / "ground"])[0]
    assert again.secret == ground.secret, "a pair that is there is kept"
    make_keys([tmp_path / "third"], [tmp_path / "ground" / "own.key_secret"])
    text = (
        (tmp_path / "third" / "peers" / "ground.key").read_text()
        if (tmp_path / "third/peers/ground.key").exists()
        else ""
    )
    text += "".join(p.read_text() for p in (tmp_path / "third" / "peers").glob("*.key"))
    assert ground.secret.decode() not in text, "a secret key given by mistake does not spread"


def test_keys_that_cannot_be_used(tmp_path):
    with pytest.raises(KeysError, match="djscc keys"):
        load_keys(tmp_path)
    make_keys([tmp_path / "a"])
    with pytest.raises(KeysError, match="--trust"):
        load_keys(tmp_path / "a")
    (tmp_path / "a" / "own.key_secret").chmod(0o644)
    with pytest.raises(KeysError, match="chmod 600"):
        load_keys(tmp_path / "a")
    (tmp_path / "no.key").write_text("nothing")
    with pytest.raises(KeysError, match="not a key file"):
        make_keys([tmp_path / "b"], [tmp_path / "no.key"])


def test_command_keys(tmp_path, capsys):
    assert main(["keys", str(tmp_path / "ground"), str(tmp_path / "flight")]) == 0
    assert "trusts flight" in capsys.readouterr().out
    assert main(["keys", str(tmp_path / "x" / "same"), str(tmp_path / "y" / "same")]) == 1


def test_samples_with_keys(tmp_path):
    make_keys([tmp_path / "a", tmp_path / "b"])
    sender = SampleSender("tcp://0.0.0.0:*", Security(tmp_path / "a"))
    port = sender.endpoint.rpartition(":")[2]
    receiver = SampleReceiver(f"tcp://127.0.0.1:{port}", Security(tmp_path / "b"))
    assert sender.write(ramp(100_000), 5) == 100_000
    assert sender.end()
    assert np.array_equal(read_all(receiver), ramp(100_000))
    sender.close()
    receiver.close()


@pytest.mark.parametrize("wrong", ["server", "client", "none"])
def test_wrong_keys_do_not_wait_in_silence(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(links_sockets, "PATIENCE_S", 0.5)
    a, _ = make_keys([tmp_path / "a", tmp_path / "b"])
    make_keys([tmp_path / "c"], [tmp_path / "a" / "own.key"])
    make_keys([tmp_path / "d"], [tmp_path / "b" / "own.key"])
    other = {"server": "d", "client": "c", "none": None}[wrong]
    with (
        Link(zmq.PUSH, "tcp://127.0.0.1:*", True, Security(a.folder)) as sender,
        Link(zmq.PULL, sender.endpoint, False, Security(tmp_path / other if other else None)) as receiver,
    ):
        with pytest.raises(LinkError, match="keys"):
            receiver.receive(8)
        assert not sender.send([b"x"], 0.5), "nothing goes to a stranger"


def test_keys_for_a_link_elsewhere_do_not_hinder_one_on_this_machine(tmp_path):
    make_keys([tmp_path / "a", tmp_path / "b"])
    with (
        Link(zmq.PUSH, "tcp://127.0.0.1:*", True) as sender,
        Link(zmq.PULL, sender.endpoint, False, Security(tmp_path / "b")) as receiver,
    ):
        assert receiver.receive(1.0) is None
        assert sender.send([b"x"], 5)
        assert receiver.receive(5) == [b"x"]


def test_a_link_that_nobody_closed_does_not_hold_up_the_end_of_the_process():
    code = "from djscc.links import SampleReceiver; kept = SampleReceiver('tcp://127.0.0.1:1'); raise SystemExit(3)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 3


def test_the_end_that_binds_warns_and_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(links_sockets, "PATIENCE_S", 0.3)
    make_keys([tmp_path / "a", tmp_path / "b"])
    make_keys([tmp_path / "c"], [tmp_path / "a" / "own.key"])
    sender = SampleSender("tcp://127.0.0.1:*", Security(tmp_path / "a"))
    stranger = SampleReceiver(sender.endpoint, Security(tmp_path / "c"))
    assert sender.write(ramp(4), 1.5) == 0
    assert "wrong keys" in caplog.text
    friend = SampleReceiver(sender.endpoint, Security(tmp_path / "b"))
    assert sender.write(ramp(4), 5) == 4
    assert np.array_equal(friend.read(5), ramp(4))
    for end in (stranger, friend, sender):
        end.close()


def test_a_receiver_that_stalls_loses_nothing(monkeypatch):
    """Heartbeats of these times on PUSH and PULL would end the connection with all that it holds."""
    monkeypatch.setattr(links_sockets, "HEARTBEAT_MS", (100, 300))
    sender = SampleSender("tcp://127.0.0.1:*")
    receiver = SampleReceiver(sender.endpoint)
    count = 150 * CHUNK  # 20 MB: more than all queues and buffers between hold
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(
            lambda: (sender.write(np.arange(count, dtype=np.complex64), 20), sender.end(), sender.close())
        )
        got = [receiver.read(5)]
        time.sleep(1.5)
        while len(samples := receiver.read(5)):
            got.append(samples)
            if len(got) % 40 == 0:
                time.sleep(0.5)
        assert writing.result(20)[0] == count
    receiver.close()
    assert np.array_equal(np.concatenate(got), np.arange(count, dtype=np.complex64))


def test_one_handshake_that_failed_does_not_end_a_link(monkeypatch):
    """As by a tunnel whose far end was not up yet, or a server that ended."""
    monkeypatch.setattr(links_sockets, "PATIENCE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        receiver = SampleReceiver(f"tcp://127.0.0.1:{port}")
        server.accept()[0].close()
    assert receiver.read(1.0) is None
    sender = SampleSender(f"tcp://127.0.0.1:{port}")
    assert sender.write(ramp(10), 5) == 10
    assert np.array_equal(receiver.read(5), ramp(10))
    sender.close()
    receiver.close()


def test_receiver_first_and_sender_restarted():
    address = f"tcp://127.0.0.1:{free_port()}"
    receiver = SampleReceiver(address)
    assert receiver.read(0.1) is None
    for start in (0, 1000):
        sender = SampleSender(address)
        assert sender.write(ramp(1000, start), 5) == 1000
        sender.close()  # without a word, as one that was killed
        assert np.array_equal(receiver.read(5), ramp(1000, start))
    receiver.close()


def test_sender_first_and_receiver_restarted():
    sender = SampleSender("tcp://127.0.0.1:*")
    assert sender.write(ramp(10), 0.2) == 0, "nobody is there: it waits"
    for _ in range(2):
        receiver = SampleReceiver(sender.endpoint)
        assert sender.write(ramp(10), 5) == 10
        assert np.array_equal(receiver.read(5), ramp(10))
        receiver.close()
        time.sleep(0.2)
    sender.close()


def test_a_slow_receiver_gets_all_that_was_written(monkeypatch):
    """The sender closes while the other end is busy for longer than links linger by default."""
    monkeypatch.setattr(links_sockets, "LINGER_MS", 100)
    sender = SampleSender("tcp://127.0.0.1:*")
    receiver = SampleReceiver(sender.endpoint)
    count = 2_000_000  # more than both queues and the kernel hold

    def send():
        sender.write(ramp(count), 20)
        sender.end()
        sender.close()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    time.sleep(1.5)
    assert len(read_all(receiver, 20)) == count
    thread.join(10)
    receiver.close()


def test_two_receivers_are_told(caplog):
    sender = SampleSender("tcp://127.0.0.1:*")
    receivers = [SampleReceiver(sender.endpoint) for _ in range(2)]
    end = time.monotonic() + 5
    while "stop all but one" not in caplog.text and time.monotonic() < end:
        sender.write(ramp(10), 0.2)
        time.sleep(0.02)
    assert "2 ends are connected" in caplog.text
    for link in (*receivers, sender):
        link.close()


def test_a_stranger_that_comes_and_goes_is_no_peer():
    sender, receiver = Link(zmq.PUSH, "tcp://127.0.0.1:*", True), None

    def settled(peers, seconds=5.0):
        end = time.monotonic() + seconds
        while sender.peers != peers and time.monotonic() < end:
            sender.check()
            time.sleep(0.01)
        return sender.peers == peers

    port = int(sender.endpoint.rsplit(":", 1)[1])
    idle = socket.create_connection(("127.0.0.1", port))  # says nothing
    receiver = Link(zmq.PULL, sender.endpoint, False)
    assert settled(1)
    idle.close()
    with socket.create_connection(("127.0.0.1", port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1" + 100 * b"\r\n")
    wrong = Link(zmq.PUSH, sender.endpoint, False)  # connects, and is refused as of the wrong kind
    time.sleep(0.3)
    wrong.close(0)
    assert not settled(0, 1.0) and sender.peers == 1
    receiver.close()
    assert settled(0)
    sender.close(0)


def test_what_is_no_samples():
    with Link(zmq.PUSH, "tcp://127.0.0.1:*", True) as sender:
        receiver = SampleReceiver(sender.endpoint)
        assert sender.send([b"12345"], 5)
        with pytest.raises(LinkError, match="no complex float32"):
            receiver.read(5)
        receiver.close()


def test_metrics_survive_rubbish_and_count_gaps():
    publisher = MetricsPublisher("tcp://127.0.0.1:*", settings={"decoder": "lite"})
    subscriber = MetricsSubscriber(publisher.endpoint)
    end = time.monotonic() + 5
    first = None
    while first is None and time.monotonic() < end:
        publisher.publish({"kind": "frame", "frame_number": 0})
        first = subscriber.receive(0.1)
    while subscriber.receive(0.2):
        pass
    link = publisher._link
    for rubbish in (
        [b"djscc"],
        [b"djscc", b"{"],
        [b"djscc", b"[1]"],
        [b"djscc", b'{"a": NaN}'],
        [b"a", b"{}", b"", b""],
        [b"djscc", b'{"psnr_db": 1' + 400 * b"0" + b"}"],  # which no float can hold
        [b"djscc", b'{"a": ' + 100_000 * b"["],  # deeper than can be read
    ):
        link.send(rubbish)
    publisher.sequence += 5
    publisher.publish({"kind": "frame", "frame_number": 1})
    got = subscriber.receive(5)
    assert got.message["frame_number"] == 1 and got.message["session"] == publisher.session
    assert (subscriber.damaged, subscriber.missed) == (7, 5)
    subscriber.close()
    publisher.close()


def test_channel_process_any_order_and_restarts():
    """Ends in threads: the channel first, then the receiver, then two transmissions, the second after a kill."""
    before, after = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    settings = WaveformSettings()
    channel = load_channel("awgn").replace(snr_db=30.0)
    source, sink = SampleReceiver(before), SampleSender(after)
    process, stop = ChannelProcess(channel, settings, source, sink), threading.Event()
    thread = threading.Thread(target=process.run, args=(False, stop.is_set), daemon=True)
    thread.start()
    receiver = SampleReceiver(after)
    signal = np.full(50_000, 0.3, np.complex64)
    killed = SampleSender(before)
    assert killed.write(signal, 5) == len(signal)
    killed.close()
    sender = SampleSender(before)
    assert sender.write(signal, 5) == len(signal)
    assert sender.end()
    got = read_all(receiver)
    assert len(got) == 100_000
    assert np.abs(got.mean() - 0.3) < 0.01
    stop.set()
    thread.join(5)
    assert process.counts["transmissions"] == 1
    for end in (sender, receiver, source, sink):
        end.close()


def test_channel_command_over_pipes(tmp_path):
    signal = np.full(20_000, 0.3, np.complex64)
    command = [sys.executable, "-m", "djscc.cli", "channel", "--in", "-", "--out", "-", "--snr", "20", "--once"]
    done = subprocess.run(command, input=signal.astype("<c8").tobytes(), capture_output=True, timeout=60, check=True)
    got = np.frombuffer(done.stdout, "<c8")
    assert len(got) == len(signal)
    assert 0.001 < np.var(got) < 0.01
    assert b"20000 samples in" in done.stderr


def test_channel_command_after_another_back_off(tmp_path):
    """Es/N0 refers to the mean power that follows from the transmitter's back-off: 6 dB more of it, noise of 6 dB less."""
    np.zeros(100_000, np.complex64).tofile(tmp_path / "in")
    power = []
    for back_off in ("9", "15"):
        ends = ["--in", f"file:{tmp_path / 'in'}", "--out", f"file:{tmp_path / 'out'}"]
        assert main(["channel", *ends, "--snr", "10", "--back-off", back_off]) == 0
        power.append(np.mean(np.abs(np.fromfile(tmp_path / "out", np.complex64)) ** 2))
    assert 10 * np.log10(power[0] / power[1]) == pytest.approx(6, abs=0.1)  # 4 standard deviations are 0.08 dB


def test_a_channel_whose_input_is_torn_ends_its_output(tmp_path):
    (tmp_path / "in").write_bytes(np.ones(1000, "<c8").tobytes() + b"xyz")
    ended = []
    with (
        open_source(f"file:{tmp_path / 'in'}", Security()) as source,
        open_sink(f"file:{tmp_path / 'out'}", Security()) as sink,
    ):
        sink.end = lambda: ended.append(True) or True
        with pytest.raises(LinkError, match="ends within a sample"):
            ChannelProcess(
                load_channel("awgn").replace(snr_db=40.0, delay_samples=10.0), WaveformSettings(), source, sink
            ).run()
    assert ended and len(np.fromfile(tmp_path / "out", np.complex64)) >= 1010

    class Refused:
        def read(self, timeout_s=None):
            raise LinkError("wrong keys")

    ended.clear()
    with pytest.raises(LinkError, match="wrong keys"):
        ChannelProcess(load_channel("bench-pluto"), WaveformSettings(), Refused(), sink).run()
    assert not ended, "nothing had begun"


def test_channel_command_refuses(tmp_path, capsys):
    assert main(["channel", "--in", "nowhere", "--out", "-", "--snr", "3"]) == 1
    assert "zmq:tcp://HOST:PORT" in capsys.readouterr().err
    assert main(["channel", "--in", "-", "--out", "zmq:tcp://*:5999", "--snr", "3"]) == 1
    assert "--keys" in capsys.readouterr().err
    torn = tmp_path / "torn.cf32"
    torn.write_bytes(b"0" * 20)
    assert main(["channel", "--in", f"file:{torn}", "--out", f"file:{tmp_path / 'o'}", "--snr", "3"]) == 1
    assert "within a sample" in capsys.readouterr().err
    assert (tmp_path / "o").stat().st_size == 16


def test_errors_are_the_projects():
    assert issubclass(LinkError, DjsccError) and issubclass(KeysError, DjsccError)


def test_two_ends_with_a_channel_between_each_restarted():
    """Transmitter, channel and receiver apart; the transmitter is killed within a frame, then the channel is started again.

    A channel that is stopped within a transmission tells the receiver that it has ended, so the frame that was cut takes none of
    the next transmission with it.
    """
    before, after = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    settings = WaveformSettings()
    tiles = TileSet(np.random.default_rng(1).integers(0, 255, (6, 64, 64, 3), np.uint8), tuple("abcdef"))
    frames = list(FrameSource(tiles, load_codec("adaptive", "lite"), 48, tiles_per_frame=1))
    modulator = Modulator(settings)
    air = [modulator.modulate(header, payload) for header, payload in frames]
    got: list[tuple[int, float]] = []
    ends = threading.Semaphore(0)
    stop = threading.Event()

    def receive():
        receiver, source = Receiver(settings), SampleReceiver(after)
        while not stop.is_set():
            samples = source.read(0.1)
            if samples is None:
                continue
            found = receiver.push(samples) if len(samples) else receiver.flush()
            got.extend((frame.header.frame_number, float(1 - frame.received.mean())) for frame in found)
            if not len(samples):
                ends.release()
        source.close()

    def start_channel():
        channel = load_channel("awgn").replace(snr_db=15.0, cfo_hz=2000.0, clock_ppm=5.0)
        source, sink = SampleReceiver(before), SampleSender(after)
        process, stopped = ChannelProcess(channel, settings, source, sink), threading.Event()

        def run():
            process.run(interrupt=stopped.is_set)
            source.close()
            sink.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return stopped, thread

    receiving = threading.Thread(target=receive, daemon=True)
    receiving.start()
    stopped, channel_thread = start_channel()
    killed = SampleSender(before)
    killed.write(np.concatenate([*air[:3], air[3][: int(0.9 * len(air[3]))]]), 20)
    killed.close()
    deadline = time.monotonic() + 20
    while len(got) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [number for number, _ in got] == [0, 1, 2]
    stopped.set()
    channel_thread.join(10)
    assert ends.acquire(timeout=10)
    stopped, channel_thread = start_channel()
    sender = SampleSender(before)
    for samples in [*air, modulator.guard()]:
        assert sender.write(samples, 20) == len(samples)
    assert sender.end()
    assert ends.acquire(timeout=20)
    stopped.set()
    stop.set()
    for thread in (receiving, channel_thread):
        thread.join(10)
    sender.close()
    assert [number for number, erased in got if erased < 0.01] == [0, 1, 2, 0, 1, 2, 3, 4, 5], got


def test_real_time_saves_no_credit():
    """A source that was slow for a while does not pass faster than the sample rate later."""
    settings, passed = WaveformSettings(), []

    class Source:
        calls = 0

        def read(self, timeout_s):
            self.calls += 1
            if self.calls > 24:
                return np.empty(0, np.complex64)
            time.sleep(0.05 if self.calls <= 4 else 0)
            return np.zeros(10_000, np.complex64)  # 5 ms

    class Sink:
        def write(self, samples, timeout_s):
            passed.append(time.monotonic())
            return len(samples)

        def end(self, timeout_s=0):
            return True

    channel = load_channel("awgn").replace(snr_db=10.0)
    ChannelProcess(channel, settings, Source(), Sink(), real_time=True).run(once=True)
    assert passed[23] - passed[4] > 0.8 * 19 * 0.005


@pytest.mark.parametrize("stalled", [False, True])
def test_a_channel_that_is_stopped_ends_the_transmission(stalled):
    """Within seconds, also where the receiver takes nothing."""
    told, over = [], threading.Event()

    class Source:
        def read(self, timeout_s):
            time.sleep(0.01)
            over.set()
            return np.zeros(1000, np.complex64)

    class Sink:
        def write(self, samples, timeout_s):
            time.sleep(timeout_s if stalled else 0)
            return 0 if stalled else len(samples)

        def end(self, timeout_s):
            told.append(timeout_s)
            return not stalled

    process = ChannelProcess(
        load_channel("awgn").replace(snr_db=10.0, delay_samples=500.0), WaveformSettings(), Source(), Sink()
    )
    process.run(interrupt=over.is_set)
    assert len(told) == 1 and told[0] <= 2 and process.counts["transmissions"] == (not stalled)
    assert stalled or process.counts["samples_out"] >= process.counts["samples_in"] == 1000


def test_a_channel_ends_with_the_file_that_it_reads(tmp_path):
    np.full(5000, 0.3, "<c8").tofile(tmp_path / "a")
    ends = ["--in", f"file:{tmp_path / 'a'}", "--out", f"file:{tmp_path / 'b'}"]
    assert main(["channel", *ends, "--snr", "20"]) == 0
    assert (tmp_path / "b").stat().st_size >= 40_000


def test_numbers_that_are_not_finite_are_told_as_unknown():
    port = free_port()
    with_nan = {"kind": "info", "snr_db": float("nan"), "of": [{"gain_db": float("inf")}, 1]}
    publisher = MetricsPublisher(f"tcp://127.0.0.1:{port}")
    subscriber = MetricsSubscriber(f"tcp://127.0.0.1:{port}")
    received, until = None, time.monotonic() + 10
    while received is None and time.monotonic() < until:
        publisher.publish(with_nan)
        received = subscriber.receive(0.1)
    publisher.close()
    subscriber.close()
    assert received.message["snr_db"] is None and received.message["of"] == [{"gain_db": None}, 1]


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 13])
def test_tiles_of_any_bands_come_through_a_png(bands):
    tiles = np.random.default_rng(1).integers(0, 256, (3, 8, 10, bands), np.uint8)
    assert np.array_equal(tiles_of_png(png_of_tiles(tiles), tiles.shape), tiles)


def test_a_png_that_claims_to_be_huge_is_no_picture():
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    body = b"IHDR" + head
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    assert tiles_of_png(png, (1, 64, 64, 3)) is None


def test_receive_ends_with_a_link_that_cannot_be(tmp_path):
    """Also where it waits for a number of frames."""
    port, stop = free_port(), threading.Event()

    def speak():
        with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.bind(f"tcp://127.0.0.1:{port}")
            while not stop.is_set():
                with contextlib.suppress(zmq.Again):
                    socket.send(b"12345", zmq.NOBLOCK)
                time.sleep(0.05)

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    command = [sys.executable, "-m", "djscc.cli", "receive", "--source", f"zmq:tcp://127.0.0.1:{port}", "--frames", "3"]
    done = subprocess.run([*command, "--run", str(tmp_path / "r")], capture_output=True, text=True, timeout=60)
    stop.set()
    thread.join(5)
    assert done.returncode == 1 and "error" in done.stderr
