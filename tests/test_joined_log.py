# SPDX-License-Identifier: GPL-3.0-or-later
"""The joined log: a receiver without originals publishes, the transmitter's side measures; duplicates, losses, restarts."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
from djscc.campaign import RunLog, resolve_data
from djscc.campaign.joined_log import JoinedLog
from djscc.campaign.reception import FrameSink
from djscc.campaign.sender import FrameSource
from djscc.campaign.summary import sum_up
from djscc.campaign.transmit_log import SentLog, TransmitLog
from djscc.cli import main
from djscc.codec import load_codec
from djscc.imagery import load_tiles
from djscc.links import MetricsPublisher, Received
from djscc.links.metrics import png_of_tiles
from djscc.report import write_report
from djscc.waveform import FrameReport, ReceivedFrame


@pytest.fixture(scope="module")
def tiles():
    return load_tiles(resolve_data("landsat")).take(8)


@pytest.fixture(scope="module")
def frames(tiles):
    """Four frames of two tiles, as received at 10 dB."""
    codec = load_codec("adaptive", "lite")
    rng = np.random.default_rng(1)
    out = []
    for header, payload in FrameSource(tiles, codec, 16, tiles_per_frame=2):
        noise = rng.normal(0, np.sqrt(0.05), (2, len(payload))).astype(np.float32)
        symbols = (payload + noise[0] + 1j * noise[1]).astype(np.complex64)
        received = np.ones(len(payload), bool)
        received[: len(payload) // 20] = header.frame_number != 2
        variance = np.full(len(payload), 0.1, np.float32)
        out.append(ReceivedFrame(header, symbols, variance, received, FrameReport.exact(10.0)))
    return out


class Receiver:
    """A receiver without originals; what it would publish is kept as a subscriber gets it."""

    def __init__(self, session="aa"):
        self.session, self.messages, self.records = session, [], []
        self._sink = FrameSink([load_codec("adaptive", "lite")], metrics=())
        self._sink.observers.append(self._observe)

    def _observe(self, frame, record, tiles):
        about = {"kind": "frame", "header": frame.header.to_dict(), **record}
        self.tell(about, png_of_tiles(tiles))
        self.records.append((record, tiles))

    def tell(self, message, png=b""):
        identity = {"session": self.session, "sequence": len(self.messages)}
        self.messages.append(Received(json.loads(json.dumps(message | identity)), png))

    def take(self, *frames):
        first = len(self.messages)
        for frame in frames:
            self._sink.accept(frame)
        return self.messages[first:]


def sent_log(folder, tiles, frames):
    log = TransmitLog(folder, {"ratio": "1/12"})
    log.scene(tiles)
    for frame in frames:
        log.frame(frame.header)
    return log


def test_joined_is_as_measured_at_the_receiver(tmp_path, tiles, frames):
    """The same values as when the receiver has the originals itself, in a run folder that fit and report read."""
    there = FrameSink([load_codec("adaptive", "lite")], tiles, RunLog(tmp_path / "there"))
    wanted = [there.accept(frame) for frame in frames]
    joined = JoinedLog(RunLog(tmp_path / "joined"), scenes=[tiles])
    for message in Receiver().take(*frames):
        joined.accept(message)
    joined.close()
    got = list(RunLog(tmp_path / "joined").records())
    assert len(got) == len(wanted) == 4
    for record, other in zip(got, wanted, strict=True):
        assert record["tiles"] == other["tiles"]
        ignored = {"time", "session", "sequence"}
        assert {k: v for k, v in record.items() if k not in ignored} == {
            k: v for k, v in other.items() if k not in ignored
        }
    assert got[2]["erased"] > 0
    assert (tmp_path / "joined" / "received" / f"scene-{got[0]['scene_id']}" / "00003.png").is_file()
    RunLog(tmp_path / "joined").start({"connect": "tcp://127.0.0.1:1"})
    assert write_report([tmp_path / "joined"], tmp_path / "report").is_file()


def test_lost_frames_come_from_the_transmitters_log(tmp_path, tiles, frames):
    sent = sent_log(tmp_path / "sent", tiles, [])
    joined = JoinedLog(RunLog(tmp_path / "run"), SentLog(tmp_path / "sent"))
    sent.frame(frames[0].header)  # before anybody listened: neither received nor lost
    time.sleep(0.01)
    joined.connected()
    time.sleep(0.01)
    for frame in frames[1:]:
        sent.frame(frame.header)
    for message in Receiver().take(frames[1], frames[3]):
        assert joined.accept(message)["tiles"][0]["psnr_db"] > 20
    joined.close(grace_s=0)
    records = list(RunLog(tmp_path / "run").records())
    assert [(r["frame_number"], r["received"]) for r in records] == [(1, True), (3, True), (2, False)]
    assert records[2]["tiles"][0]["name"] == tiles.names[4]
    assert records[2]["codec"] == records[0]["codec"] == "adaptive", "of one series, as the fit has it"
    assert joined.counts["lost"] == 1
    again = JoinedLog(RunLog(tmp_path / "run"), SentLog(tmp_path / "sent"))
    again.close(grace_s=0)
    assert again.counts["lost"] == 0, "what is logged as lost is not lost again"
    sent.frame(frames[0].header)  # in the pause: neither received nor lost
    time.sleep(0.01)
    again = JoinedLog(RunLog(tmp_path / "run"), SentLog(tmp_path / "sent"))
    again.connected()
    time.sleep(0.01)
    for frame in frames[1:4]:  # the same scene once more
        sent.frame(frame.header)
    assert again.accept(Receiver("bb").take(frames[2])[0]) is not None
    again.close(grace_s=0)
    assert [r["frame_number"] for r in RunLog(tmp_path / "run").records() if not r["received"]] == [2, 1, 3]


def test_a_frame_on_its_way_is_not_lost(tmp_path, tiles, frames):
    joined = JoinedLog(RunLog(tmp_path / "run"), SentLog(sent_log(tmp_path / "sent", tiles, []).folder))
    joined.connected()
    sent_log(tmp_path / "sent", tiles, frames)
    joined.close(grace_s=5)
    assert joined.counts["lost"] == 0


def test_duplicates_and_restarts(tmp_path, tiles, frames):
    """A message twice, a frame heard twice, a logger started again, a receiver and a transmitter started again."""
    sent = sent_log(tmp_path / "sent", tiles, frames[:2])
    receiver = Receiver()
    first = receiver.take(*frames[:2])
    joined = JoinedLog(RunLog(tmp_path / "run"), SentLog(tmp_path / "sent"))
    for message in [*first, *first]:
        joined.accept(message)
    assert joined.counts["duplicates"] == 2
    joined.close()
    joined = JoinedLog(RunLog(tmp_path / "run"), SentLog(tmp_path / "sent"))  # the logger again
    assert joined.accept(first[1]) is None
    other = Receiver("bb")  # the receiver again: the same frame heard twice is an echo
    assert joined.accept(other.take(frames[1])[0]) is None
    assert joined.counts["duplicates"] == 2
    sent.close()
    sent_log(tmp_path / "sent", tiles, frames[:2])  # the transmitter again: the same frames are sent anew
    for message in other.take(*frames[:2]):
        assert joined.accept(message) is not None
    joined.close(grace_s=0)
    assert joined.counts["lost"] == 0
    assert len(list(RunLog(tmp_path / "run").records())) == 4


def test_what_is_received_is_not_trusted(tmp_path, tiles, frames):
    """Damaged or malicious messages are counted and change nothing else; names never become paths."""
    joined = JoinedLog(RunLog(tmp_path / "run"), scenes=[tiles])
    good = Receiver().take(frames[0])[0]
    header = good.message["header"]
    for changes in (
        {"session": 5},
        {"session": "../../etc"},
        {"sequence": "x"},
        {"session": "x1", "header": None},
        {"session": "x2", "header": {**header, "layers": [9] * 100_000}},
        {"session": "x3", "header": {**header, "tile_height": -1}},
        {"session": "x4", "header": {**header, "scene_id": "../x"}},
    ):
        assert joined.accept(Received(good.message | changes, good.png)) is None, changes
    assert joined.counts["damaged"] == 7
    odd = {
        "session": "y",
        "point": "../../up",
        "codec": "<script>" * 100,
        "big": [1] * 1000,
        "scene_id": "../x",
        "tiles": [{"index": "../x", "erased": "no"}] * 2,
    }
    record = joined.accept(Received(good.message | odd, b"no picture"))
    assert record["point"] is None and len(record["codec"]) == 300 and "big" not in record
    assert record["scene_id"] == f"{header['scene_id']:08x}"
    assert [tile["index"] for tile in record["tiles"]] == [0, 1]
    assert "psnr_db" not in record["tiles"][0]
    assert {path.name for path in tmp_path.rglob("*")} == {"run", "frames.jsonl"}
    texts = {"session": "z", "snr_est_db": "n/a", "tiles": [{"psnr_db": "high", "tasks": 5, "erased": 0.0}] * 2}
    record = joined.accept(Received(good.message | texts, good.png))
    assert "snr_est_db" not in record and record["tiles"][0]["tasks"] == {} and record["tiles"][0]["psnr_db"] > 20
    assert sum_up(list(joined.log.records()))["frames_received"] == 2
    assert joined.counts["without_tiles"] == 1


def test_torn_transmit_log(tmp_path, tiles, frames):
    log = sent_log(tmp_path / "sent", tiles, frames[:2])
    log.close()
    with (tmp_path / "sent" / "sent.jsonl").open("ab") as file:
        file.write(b'{"time": "2026-')
    reader = SentLog(tmp_path / "sent")
    reader.refresh()
    assert reader.sent.total() == 2
    sent_log(tmp_path / "sent", tiles, frames[2:])
    reader.refresh()
    assert reader.sent.total() == 4
    assert reader.originals(frames[0].header.scene_id).names == tiles.names
    assert reader.originals(5) is None


def test_command_log_over_a_link(tmp_path, tiles, frames, capsys, monkeypatch):
    """The command, late and over a socket: what it hears is logged with its PSNR."""
    monkeypatch.setattr("djscc.links.metrics.SETTINGS_S", 0.05)
    publisher = MetricsPublisher("tcp://127.0.0.1:*", settings={"decoder": "lite"})
    sink = FrameSink([load_codec("adaptive", "lite")], metrics=())
    sink.observers.append(publisher.frame)
    stop = threading.Event()

    def receive():
        while not stop.is_set():
            for frame in frames:
                sink.accept(frame)
            stop.wait(0.1)

    thread = threading.Thread(target=receive)
    thread.start()
    arguments = ["--connect", publisher.endpoint, "--data", "landsat", "--limit", "8", "--run", str(tmp_path / "run")]
    code = main(["log", *arguments, "--frames", "5", "--seconds", "20", "--json", str(tmp_path / "r.json")])
    stop.set()
    thread.join()
    publisher.close()
    assert code == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["counts"]["frames"] == 5
    assert result["psnr_db"] > 25
    assert "PSNR" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "receivers.jsonl").read_text())["settings"] == {"decoder": "lite"}
