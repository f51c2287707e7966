# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor: bounded state, an honest count of what is missing, a page that answers quickly and trusts nothing received."""

from __future__ import annotations

import http.client
import io
import json
import math
import shutil
import subprocess
import threading
import time
import tracemalloc

import numpy as np
import pytest
from djscc.cli import main
from djscc.links import LinkError, MetricsPublisher, MetricsSubscriber, Received, Security, make_keys
from djscc.links.metrics import png_of_tiles
from djscc.monitor import MonitorServer, MonitorState
from djscc.monitor.history import History
from djscc.monitor.picture import LOST, PAPER, Picture
from djscc.waveform import FrameHeader
from PIL import Image

TILE = 16


def header(number=0, scene=1, first=0, count=1, total=16, size=(64, 64)):
    return FrameHeader(
        codec_id=7,
        scene_id=scene,
        frame_number=number & 0xFFFF,
        tile_index=first,
        tiles_total=total,
        layers=(4,) * count,
        symbols_per_layer=16,
        tile_height=TILE,
        tile_width=TILE,
        bands=3,
        image_height=size[0],
        image_width=size[1],
        seed=0,
    )


def message(number=0, session="a", sequence=None, colour=(200, 10, 20), erased=0.0, **more):
    about = header(number, **{k: more.pop(k) for k in ("scene", "first", "count", "total", "size") if k in more})
    record = {
        "kind": "frame",
        "session": session,
        "sequence": number if sequence is None else sequence,
        "header": about.to_dict(),
        "frame_number": about.frame_number,
        "scene_id": f"{about.scene_id:08x}",
        "ratio": 1 / 12,
        "snr_est_db": 5 + math.sin(number / 50),
        "cfo_hz": 100.0,
        "erased": erased,
        "tiles": [{"index": about.tile_index + i, "erased": erased, "psnr_db": 30.0} for i in range(len(about.layers))],
        **more,
    }
    tiles = np.full((len(about.layers), TILE, TILE, 3), colour, np.uint8)
    return Received(record, png_of_tiles(tiles))


def get(port, path, host="127.0.0.1"):
    """Status, body and seconds of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    begin = time.perf_counter()
    connection.request("GET", path, headers={"Host": host})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body, time.perf_counter() - begin


def picture(state, kind="picture", scene=1):
    return np.asarray(Image.open(io.BytesIO(state.png(scene, kind))))


def test_history_merges_without_losing_anything():
    history = History(bins=8, width_s=1)
    rng = np.random.default_rng(1)
    values = rng.normal(size=100)
    for second, value in enumerate(values):
        history.add(second, {"x": value})
    found = history.to_dict()
    assert found["width_s"] == 16 and found["bins"] == 7
    series = found["series"]["x"]
    assert sum(series["count"]) == 100
    assert series["mean"][2] == pytest.approx(values[32:48].mean(), rel=1e-4)
    assert min(series["low"]) == pytest.approx(values.min(), rel=1e-4)
    assert max(series["high"]) == pytest.approx(values.max(), rel=1e-4)


def test_history_has_gaps_and_a_bound_on_names():
    history = History(bins=4, width_s=1)
    history.add(0, {f"n{i}": 1.0 for i in range(100)})
    history.add(3, {"n0": 2.0})
    found = history.to_dict()["series"]
    assert len(found) == 16
    assert found["n0"]["mean"] == [1.0, None, None, 2.0]


def test_tiles_lie_where_they_lay_in_the_image():
    state = MonitorState()
    state.accept(message(0, first=5), 0)
    state.accept(message(1, first=6, erased=1.0), 0)
    shown = picture(state)
    assert shown.shape == (64, 64, 3)
    assert (shown[16:32, 16:32] == (200, 10, 20)).all()
    assert (shown[:16] == PAPER).all() and (shown[16:32, 32:48] == PAPER).all()
    tile_map = picture(state, "map")
    assert tuple(tile_map[1, 2]) == LOST and tuple(tile_map[0, 0]) == PAPER
    scene = state.snapshot(0)["scenes"][0]
    assert (scene["arrived"], scene["tiles"], scene["image_size"]) == (1, 16, [64, 64])


def test_large_scenes_are_shown_small():
    state = MonitorState()
    state.accept(message(0, total=10_000, size=(0, 0), first=9_999), 0)
    assert max(picture(state).shape) <= 1024
    state.accept(message(1, scene=2, total=60_000, size=(0, 0)), 0)
    assert max(picture(state, scene=2).shape) <= 1400


def test_what_is_missing_is_counted():
    state = MonitorState()
    for number in (0, 1, 5, 6):  # three lost on the air
        state.accept(message(number, sequence=number, frames_dropped=2), 0)
    counts = state.snapshot(0)["counts"]
    assert (counts["lost"], counts["missed"], counts["frames_dropped"], counts["frames"]) == (3, 3, 2, 4)
    state.accept(message(0, session="b", sequence=0, frames_dropped=1, overruns=4), 0)  # the receiver again
    state.accept(message(65535, session="b", sequence=1), 0)
    state.accept(message(0, session="b", sequence=2), 0)  # numbers wrap
    found = state.snapshot(0)
    assert (found["counts"]["lost"], found["counts"]["frames_dropped"], found["counts"]["overruns"]) == (3, 3, 4)
    assert [text for _, text in found["events"]] == ["the receiver was started again"]


def test_task_results_and_metrics_over_time():
    state = MonitorState()
    state.accept(
        message(
            0,
            tasks={"land cover": {"accuracy": 0.75, "agreement": "x"}, "bad": 1},
            constellation=[[0.1, 0.2], ["x", 1]],
        ),
        0,
    )
    found = state.snapshot(0)
    assert found["history"]["series"]["accuracy of land cover"]["mean"] == [0.75]
    assert next(iter(found["history"]["series"])) == "frames"  # whatever else there is too much of
    assert found["latest"]["psnr_db"] == 30.0
    assert found["constellation"] == [[0.1, 0.2]]


@pytest.mark.parametrize(
    "odd",
    [
        {"kind": "frame"},
        {"kind": "frame", "tiles": "x", "header": [], "frame_number": "1", "snr_est_db": "loud", "session": [1]},
        {"kind": "frame", "tiles": [1, None, {"erased": "x"}], "constellation": {"a": 1}, "tasks": [1]},
        {"kind": "run", "settings": "x"},
        {"kind": "what"},
        {"kind": "frame", "header": {**header().to_dict(), "tiles_total": 65535, "tile_height": 4096}},
        {"kind": "frame", "frame_number": 10**30, "overruns": 1e300, "sequence": -5},
        {"kind": "frame", "snr_est_db": 1.7e308, "tiles": [{"psnr_db": 1.7e308}, {"psnr_db": 1.7e308}]},
    ],
)
def test_odd_messages_do_no_harm(odd):
    state = MonitorState()
    state.accept(Received(odd, b"no PNG"), 0)
    json.dumps(state.snapshot(0), allow_nan=False)


def test_an_hour_of_records_leaves_the_memory_flat():
    """3600 s, new scenes all the time: after the first third the memory stays within 2 MB."""
    state = MonitorState()
    tracemalloc.start()
    for number in range(1800):
        state.accept(message(number, scene=number // 16, first=number % 16), 2 * number)
        if number == 600:
            before = tracemalloc.get_traced_memory()[0]
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 2e6, (before, after)
    text = json.dumps(state.snapshot(3600))
    assert len(text) < 200_000
    assert state.snapshot(3600)["history"]["bins"] <= 400


def test_the_page_answers_quickly_at_200_frames_a_second():
    """Two seconds of 200 frames a second over a link: the median answer comes within 100 ms, and most frames are counted."""
    publisher = MetricsPublisher("tcp://127.0.0.1:*", settings={"decoder": "lite"})
    sent = 400
    messages = [message(number, first=number % 16) for number in range(sent)]
    with MonitorServer(MonitorState("here"), 0) as server:
        server.start(MetricsSubscriber(publisher.endpoint))
        time.sleep(0.7)  # a subscription takes its time

        def publish():
            begin = time.monotonic()
            for number, received in enumerate(messages):
                publisher.publish(received.message, received.png)
                time.sleep(max(0.0, begin + number / 200 - time.monotonic()))

        thread = threading.Thread(target=publish)
        thread.start()
        times = []
        while thread.is_alive():
            for path in ("/state.json", "/picture/00000001.png", "/map/00000001.png"):
                status, _, seconds = get(server.port, path)
                times += [seconds] if status == 200 else []
            time.sleep(0.1)
        thread.join()
        time.sleep(0.5)
        counts = json.loads(get(server.port, "/state.json")[1])["counts"]
    publisher.close()
    assert counts["frames"] >= 0.95 * sent, counts
    assert np.median(times) < 0.1, np.sort(times)[-5:]


def test_only_this_machine_and_only_what_is_there():
    state = MonitorState()
    state.accept(message(0), 0)
    with MonitorServer(state, 0) as server:
        server.start()
        assert get(server.port, "/state.json", host="evil.example")[0] == 403
        assert get(server.port, "/state.json", host=f"localhost:{server.port}")[0] == 200
        for path in ("/../../etc/passwd", "/picture/../x.png", "/picture/00000009.png", "/cli/__init__.py", "/x"):
            assert get(server.port, path)[0] == 404, path
        for path in (
            "/",
            "/monitor.js",
            "/monitor.css",
            "/style.css",
            "/picture/00000001.png",
            "/map/00000001.png?v=3",
        ):
            assert get(server.port, path)[0] == 200, path
        assert server.url.startswith("http://127.0.0.1:")
        with pytest.raises(LinkError, match="--port"):
            MonitorServer(state, server.port)


def test_no_address_of_elsewhere_in_the_page():
    from djscc import DATA

    for file in (DATA / "monitor").iterdir():
        assert "//" not in file.read_text().replace("// ", "").replace("//=", ""), file


def test_with_keys_and_a_receiver_started_later(tmp_path):
    make_keys([tmp_path / "ground", tmp_path / "desk"])
    first = MetricsPublisher("tcp://127.0.0.1:*", Security(tmp_path / "ground"))
    address = first.endpoint
    first.close()
    with MonitorServer(MonitorState(address), 0) as server:
        server.start(MetricsSubscriber(address, Security(tmp_path / "desk")))
        time.sleep(0.3)
        publisher = MetricsPublisher(address, Security(tmp_path / "ground"))
        end = time.monotonic() + 10
        while not server.state.snapshot()["counts"]["frames"] and time.monotonic() < end:
            received = message(0)
            publisher.publish(received.message, received.png)
            time.sleep(0.05)
        found = server.state.snapshot()
        publisher.close()
    assert found["counts"]["frames"] and found["connected"]


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 8])
def test_pictures_of_any_bands_are_shown(bands):
    header = FrameHeader(1, 2, 3, 0, 2, (4, 4), 64, 64, 64, bands)
    picture = Picture(header)
    tiles = np.random.default_rng(1).integers(0, 256, (2, 64, 64, bands), dtype=np.uint8)
    picture.add(header, [{}, {}], tiles)
    shown = np.asarray(Image.open(io.BytesIO(picture.png("picture"))))
    first = shown[: picture.cell, : picture.cell]
    assert first.shape[2] == 3 and (first.std() > 0)
    assert (bands >= 3) == bool((first[..., 0] != first[..., 1]).any())


def test_wrong_keys_are_said_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr("djscc.links.sockets.PATIENCE_S", 0.3)
    make_keys([tmp_path / "ground", tmp_path / "desk"])
    make_keys([tmp_path / "stranger"], [tmp_path / "ground" / "own.key"])
    publisher = MetricsPublisher("tcp://127.0.0.1:*", Security(tmp_path / "ground"))
    with MonitorServer(MonitorState(), 0) as server:
        server.start(MetricsSubscriber(publisher.endpoint, Security(tmp_path / "stranger")))
        end = time.monotonic() + 10
        while "keys" not in server.state.problem and time.monotonic() < end:
            time.sleep(0.1)
        assert "keys" in server.state.problem
    publisher.close()


def test_command_monitor(capsys):
    assert main(["monitor", "--connect", "tcp://127.0.0.1:5999", "--port", "18599", "--seconds", "0.2"]) == 0
    assert "http://127.0.0.1:18599/" in capsys.readouterr().out
    assert main(["monitor", "--connect", "tcp://ground.example:5557", "--seconds", "0.2"]) == 1
    assert "--keys" in capsys.readouterr().err


def test_in_a_browser(tmp_path):
    """Headless Chromium draws the page; what was received comes out as text, never as markup."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    state = MonitorState("tcp://127.0.0.1:5557")
    state.connected = True
    evil = "<img src=x onerror=alert(1)><script>document.title='taken'</script>"
    for number in range(32):
        state.accept(message(number, first=number % 16, codec=evil, constellation=[[0.1, 0.2]]), time.monotonic())
    state.accept(Received({"kind": "run", "session": "a", "sequence": 99, "settings": {evil: evil}}))
    with MonitorServer(state, 0) as server:
        server.start()
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=3000", "--window-size=1400,1500",
        ]  # fmt: skip
        done = subprocess.run([*command, "--dump-dom", server.url], capture_output=True, text=True, timeout=90)
    page = done.stdout
    assert 'data-frames="32"' in page, done.stderr[-2000:]
    assert "<title>djscc monitor</title>" in page
    assert "onerror" in page and "<img src=x" not in page.replace('"', "") and page.count("<script") == 1
    assert 'id="picture"' in page and "/picture/00000001.png?v=32" in page
    for title in ("Es/N0, estimated", "PSNR", "Carrier frequency offset"):
        assert title in page
