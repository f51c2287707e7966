# SPDX-License-Identifier: GPL-3.0-or-later
"""Run logs, plans, the sending and the receiving end, and campaigns that go on after a stop."""

import csv
import dataclasses
import hashlib
import json
import multiprocessing
import shutil
import threading
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from djscc import DATA
from djscc.cache import BoundedCache
from djscc.campaign import Plan, PlanError, RunError, RunLog, cells, parse_ratio, runner
from djscc.campaign.parts import cut as cut_parts
from djscc.campaign.points import FrameCounter
from djscc.campaign.reception import FrameSink
from djscc.campaign.runner import run_campaign
from djscc.campaign.scenes import Scenes, chequer, read_scene
from djscc.campaign.sender import FrameSource
from djscc.campaign.summary import point_means, speed_text, sum_up, table
from djscc.errors import DjsccError
from djscc.imagery import ImageError, TileSet, cut, load_image, paste
from djscc.semantic_loss.selection import mixture_warnings
from djscc.waveform import FrameReport, ReceivedFrame
from PIL import Image

REPORT = FrameReport.exact(10.0)


def exact(header, payload, variance=0.1):
    """A frame received without any change."""
    return ReceivedFrame(
        header, payload, np.full(len(payload), variance, np.float32), np.ones(len(payload), bool), REPORT
    )


# the log


def test_a_torn_last_line_loses_that_line_only(tmp_path):
    log = RunLog(tmp_path)
    for i in range(3):
        log.append({"frame_number": i, "point": None})
    with log.frames.open("ab") as file:
        file.write(b'{"frame_number": 3, "po')
    assert [r["frame_number"] for r in log.records()] == [0, 1, 2]
    RunLog(tmp_path).append({"frame_number": 4, "point": None})
    assert [r["frame_number"] for r in log.records()] == [0, 1, 2, 4]


def test_a_frame_of_a_point_counts_once(tmp_path):
    log = RunLog(tmp_path)
    for point in ("a", "a", "b", None, None):
        log.append({"point": point, "scene_id": "1", "frame_number": 0, "tiles": [{"index": 0}]})
    assert [r["point"] for r in log.records()] == ["a", "b", None, None]
    assert len(log.tiles()) == 4


def test_numbers_that_json_has_not_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        RunLog(tmp_path).append({"snr": float("nan")})


def test_other_settings_are_refused_and_named(tmp_path):
    RunLog(tmp_path).start({"seed": 1, "ratios": (1, 2)})
    RunLog(tmp_path).start({"seed": 1, "ratios": (1, 2)})
    with pytest.raises(RunError, match="seed: 1 there, 2 now"):
        RunLog(tmp_path).start({"seed": 2, "ratios": (1, 2)})
    RunLog(tmp_path).start({"seed": 3}, replace=True)  # nothing was logged
    assert RunLog(tmp_path).settings()["settings"] == {"seed": 3}
    RunLog(tmp_path).append({"frame_number": 0})
    with pytest.raises(RunError, match="seed: 3 there, 4 now"):
        RunLog(tmp_path).start({"seed": 4}, replace=True)


def test_a_name_never_becomes_a_path(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    for name in ("../x", "/x", "", ".hidden", "a/b", "a\n"):
        with pytest.raises(RunError, match="safe file name"):
            RunLog(tmp_path / "run").save_picture(picture, "received", name)


def test_no_run_is_said(tmp_path):
    with pytest.raises(RunError, match="no run there"):
        RunLog(tmp_path, must_exist=True)


# plans


@pytest.mark.parametrize(("text", "value"), [("1/12", 1 / 12), ("0.25", 0.25), (0.5, 0.5)])
def test_ratios_parse(text, value):
    assert parse_ratio(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["abc", "1/0", "0", "-1/4", "3/2", "nan", ""])
def test_bad_ratios_are_named(text):
    with pytest.raises(PlanError, match="ratio"):
        parse_ratio(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ratios: [1/4]\nsnr_db: [0]\n", "name is missing"),
        ("name: x\nratios: [1/4]\nsnr_db: [abc]\n", "abc"),
        ("name: x\nratios: [1/4]\nsnr_db: [.nan]\n", "dB between"),
        ("name: x\nratios: [1/4]\nsnr_db: [0]\nsnr: 3\n", "unknown setting snr;"),
        ("name: x\nratios: [1/4]\nsnr_db: [0]\nlevel: air\n", "level 'air' is unknown"),
        ("name: x\nratios: [1/4]\nsnr_db: [0]\nmetrics: [sharpness]\n", "sharpness are unknown"),
        ("name: x\nratios: [1/4]\nsnr_db: [0]\ntiles_per_frame: 0\n", "at least 1"),
        ("name: x\nratios: [1/4]\nsnr_db: [0]\nimpairments: 3\n", "must be a mapping, such as"),
        ("name: x\nratios: [1/4]\nsnr_db: [0]\nsymbol_rate: fast\n", "fast"),
        ("name: x\nratios: [1/4]\nsnr_db: [0]\nchannels: [my channel.yaml]\n", "safe as file names"),
        ("name: x\nratios: [1/4]\nsnr_db: [0]\nchannels: [a/c.yaml, b/c.yaml]\n", "names of their own"),
        ("[1, 2]", "must be a mapping"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_bad_plans_are_named(tmp_path, text, message):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(PlanError, match=message):
        Plan.load(tmp_path / "p.yaml")


# sending and receiving


def test_what_is_sent_comes_out_and_is_measured(codec, landsat, tmp_path):
    source = FrameSource(landsat.take(10), codec, 16, tiles_per_frame=4)
    sink = FrameSink([codec], landsat.take(10), RunLog(tmp_path), {"point": "p"})
    for header, payload in source:
        sink.accept(exact(header, payload))
    records = list(RunLog(tmp_path).records())
    assert [len(r["tiles"]) for r in records] == [4, 4, 2] and len(source) == 3
    assert [t["index"] for r in records for t in r["tiles"]] == list(range(10))
    result = sum_up(records)
    assert result["psnr_db"] > 22 and result["images"] == 10 and result["ratio"] == pytest.approx(1 / 12)
    assert result["on_air_ratio"] > result["ratio"]
    assert len(list((tmp_path / "received" / "p").glob("*.png"))) == 10


def test_a_lost_frame_leaves_the_next_tiles_in_their_place(codec, landsat):
    tiles = landsat.take(12)
    sink = FrameSink([codec], tiles)
    frames = list(FrameSource(tiles, codec, 16, tiles_per_frame=4))
    for number in (0, 2):
        sink.accept(exact(*frames[number]))
    sink.lost(frames[1][0])
    got = sum_up(sink.records)
    assert got["frames_received"] == 2 and got["frames_sent"] == 3 and got["images"] == 8
    assert sink.records[1]["tiles"][0]["index"] == 8 and min(t["psnr_db"] for t in sink.records[1]["tiles"]) > 15
    assert "1 frames were lost" in table([r | {"snr_db": 10.0, "codec": "c"} for r in sink.records])


def test_a_tile_that_did_not_arrive_is_grey_and_said_so(codec, landsat):
    tiles = landsat.take(3)
    header, payload = next(iter(FrameSource(tiles, codec, 4)))
    frame = exact(header, payload)
    frame.received[256:512] = False
    sink = FrameSink([codec], tiles)
    record = sink.accept(frame)
    assert [t["erased"] for t in record["tiles"]] == [0, 1, 0]
    assert np.all(sink.latest[1] == 128)


def test_a_tile_that_comes_again_with_less_of_it_keeps_its_picture(codec, landsat, tmp_path):
    tiles = landsat.take(2)
    header, payload = next(iter(FrameSource(tiles, codec, 4)))
    sink = FrameSink([codec], tiles, RunLog(tmp_path))
    sink.accept(exact(header, payload))
    pictures = sorted((tmp_path / "received").rglob("*.png"))
    before = [load_image(picture) for picture in pictures]
    for kept in (0, 0.5):
        cut_off = exact(header, payload)
        cut_off.received[round(kept * len(payload)) :] = False
        sink.accept(cut_off)
    assert len(before) == 2 and all(map(np.array_equal, before, map(load_image, pictures)))


def test_an_unknown_codec_is_refused_and_logged(codec, landsat, tmp_path):
    header, payload = next(iter(FrameSource(landsat.take(1), codec, 4)))
    sink = FrameSink([codec], log=RunLog(tmp_path))
    record = sink.accept(exact(dataclasses.replace(header, codec_id=0xDEAD), payload))
    assert "codec id 0000dead is not here" in record["refused"]
    assert next(RunLog(tmp_path).records())["refused"] == record["refused"]


def test_a_header_that_does_not_fit_the_codec_is_refused(codec, landsat):
    header, payload = next(iter(FrameSource(landsat.take(1), codec, 4)))
    lying = dataclasses.replace(header, tile_height=4096, tile_width=4096)
    assert "are above 1048576 pixels" in FrameSink([codec]).accept(exact(lying, payload))["refused"]
    lying = dataclasses.replace(header, tile_height=128, tile_width=128)
    assert "do not fit codec" in FrameSink([codec]).accept(exact(lying, payload))["refused"]


def test_an_image_is_put_together_and_what_lacks_is_chequered(codec):
    image = np.random.default_rng(1).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    pieces = cut(image, 64)
    tiles = TileSet(pieces, tuple("abcdef"))
    header = FrameSource(tiles, codec, 4, image_size=(100, 150)).header(0)
    arrived = np.array([True, True, True, True, False, True])
    got = Scenes().add(header, pieces, arrived)
    assert np.array_equal(got[:64], image[:64]) and np.array_equal(got[64:, 128:], image[64:, 128:])
    assert np.array_equal(got[64:, 64:128], chequer(100, 150, 3)[64:, 64:128])


@pytest.mark.parametrize("limit", [("OPEN_SCENES", 4), ("OPEN_BYTES", 4 * 128 * 128 * 3)])
def test_a_late_tile_does_not_undo_a_picture(codec, tmp_path, monkeypatch, limit):
    """Five images in turn, of which four are kept open: the first goes on from what was saved of it."""
    monkeypatch.setattr("djscc.campaign.scenes.OPEN_SCENES", 100)
    monkeypatch.setattr(f"djscc.campaign.scenes.{limit[0]}", limit[1])
    rng = np.random.default_rng(2)
    pieces = rng.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    scenes, log = Scenes(), RunLog(tmp_path)
    for number in (1, 2, 3, 4, 5, 1):
        tiles = TileSet(pieces, tuple("abcd"))
        header = dataclasses.replace(FrameSource(tiles, codec, 4, image_size=(128, 128)).header(0), scene_id=number)
        arrived = (
            np.ones(4, bool) if number != 1 or len(list(tmp_path.glob("s1.png"))) == 0 else np.array([1, 0, 0, 0], bool)
        )
        image = scenes.add(header, pieces, arrived, log.picture_path(f"s{number}"))
        log.save_picture(image, f"s{number}")
    assert np.array_equal(image, paste(pieces, 128, 128))


def test_a_picture_is_whole_on_disk_at_the_end(codec, tmp_path):
    """Not each frame writes it, but the last one does, and close() where the last never came."""
    pieces = np.random.default_rng(3).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    source = FrameSource(TileSet(pieces, tuple("abcd")), codec, 48, tiles_per_frame=1, image_size=(128, 128))
    received = list(source)
    for name, chosen in (("all", received), ("no_last", received[:3])):
        sink = FrameSink([codec], log=RunLog(tmp_path / name))
        for frame in chosen:
            sink.accept(exact(*frame))
        sink.close()
        picture = load_image(next((tmp_path / name / "received").glob("*.png")))
        missing = [i for i, tile in enumerate(cut(picture, 64)) if np.array_equal(tile, chequer(64, 64, 3))]
        assert missing == ([] if name == "all" else [3])


def test_a_header_cannot_fill_the_memory(codec, landsat):
    header = FrameSource(landsat.take(1), codec, 4).header(0)
    huge = dataclasses.replace(header, image_height=65535, image_width=65535)
    assert Scenes().add(huge, landsat.images[:1], np.array([True])) is None


def test_an_image_that_no_receiver_puts_together_is_not_sent(tmp_path, monkeypatch):
    Image.new("RGB", (100, 70)).save(tmp_path / "a.png")
    assert read_scene(tmp_path / "a.png")[1] == (70, 100)
    monkeypatch.setattr("djscc.campaign.scenes.MAXIMUM_BYTES", 20_000)
    with pytest.raises(ImageError, match="70 x 100 pixels of 3 bands"):
        read_scene(tmp_path / "a.png")


def test_a_scene_that_grows_between_frames_does_no_harm(codec, landsat, tmp_path):
    sink = FrameSink([codec], log=RunLog(tmp_path))
    for total, index in ((1, 0), (64, 10)):
        header, payload = next(iter(FrameSource(landsat.take(1), codec, 4)))
        sink.accept(exact(dataclasses.replace(header, scene_id=7, tiles_total=total, tile_index=index), payload))
    assert {path.name for path in (tmp_path / "received").rglob("*.png")} == {"00000.png", "00010.png"}


# campaigns


@pytest.fixture
def plan():
    return Plan(
        name="t", ratios=(1 / 24, 1 / 12), snr_db=(0.0, 10.0), limit=4, level="symbols", pictures=2, decoder="lite",
        metrics=("psnr_db",),
    )  # fmt: skip


def test_a_campaign_logs_every_tile_of_every_point(plan, tmp_path):
    log = run_campaign(plan, tmp_path, workers=1, progress=False)
    records = list(log.records())
    assert {r["point"] for r in records} == {p.key for p in plan.points()} and len(log.tiles()) == 16
    assert json.loads(json.dumps(log.settings()))["settings"]["ratios"] == list(plan.ratios)
    assert len(list((tmp_path / "sent").glob("*.png"))) == 2


def test_by_content_the_frames_of_a_point_are_of_one_cell(plan, tmp_path):
    changed = dataclasses.replace(plan, limit=9, tiles_per_frame=4, by_content="psnr", ratios=(1 / 12,), snr_db=(10.0,))
    records = list(run_campaign(changed, tmp_path, workers=1, progress=False).records())
    assert len(records) == 3 and {record["ratio"] for record in records} == {1 / 12}
    assert all(0.06 < record["spent_ratio"] < 1 / 12 for record in records[:2]) and "spent_ratio" not in records[2]
    assert len(table(records).splitlines()) == 2


def test_a_stopped_campaign_goes_on_and_counts_nothing_twice(plan, tmp_path, monkeypatch):
    whole = run_campaign(plan, tmp_path / "whole", workers=1, progress=False)
    real, calls = runner._run, []

    def dies(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(runner, "_run", dies)
    with pytest.raises(KeyboardInterrupt):
        run_campaign(plan, tmp_path / "parts", workers=1, progress=False)
    assert len(list(RunLog(tmp_path / "parts").records())) == 2
    log = run_campaign(plan, tmp_path / "parts", workers=1, progress=False)
    assert len(calls) == 3 + 2

    def values(run):
        return {(t["point"], t["index"]): t["psnr_db"] for t in run.tiles()}

    assert values(log) == values(whole)


def test_points_that_lie_close_are_not_taken_for_one(plan, tmp_path):
    log = run_campaign(dataclasses.replace(plan, snr_db=(0.2, 0.25), ratios=(1 / 24,)), tmp_path, 1, progress=False)
    assert len(list(log.records())) == 2


def test_a_point_that_was_stopped_in_the_middle_is_run_again(plan, tmp_path, monkeypatch):
    small = dataclasses.replace(plan, ratios=(1 / 24,), snr_db=(10.0,), tiles_per_frame=2, repeat=2)
    real, calls = FrameSink.accept, []

    def dies(self, frame):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, frame)

    monkeypatch.setattr(FrameSink, "accept", dies)
    with pytest.raises(KeyboardInterrupt):
        run_campaign(small, tmp_path, 1, progress=False)
    assert len(list(RunLog(tmp_path).records())) == 2
    log = run_campaign(small, tmp_path, 1, progress=False)
    assert [r["frame_number"] for r in log.records()] == [0, 1, 2, 3]
    assert len(log.tiles()) == 8


def test_other_weights_under_the_same_name_are_noticed(plan, tmp_path):
    """Other weights of the decoder alone, and two codecs of one name side by side: neither is averaged with what it is not."""
    from djscc.campaign.points import codec_of
    from safetensors.torch import load_file, save_file

    mine = tmp_path / "mine"
    shutil.copytree(DATA / "codecs/adaptive", mine)
    alone = dataclasses.replace(plan, codecs=(str(mine),), snr_db=(10.0,))
    run_campaign(alone, tmp_path / "run", 1, progress=False)
    weights = load_file(mine / "lite.safetensors")
    save_file({key: 0.9 * value for key, value in weights.items()}, mine / "lite.safetensors")
    manifest = json.loads((mine / "manifest.json").read_text())
    manifest["decoders"]["lite"]["sha256"] = hashlib.sha256((mine / "lite.safetensors").read_bytes()).hexdigest()
    (mine / "manifest.json").write_text(json.dumps(manifest))
    codec_of.cache_clear()
    with pytest.raises(RunError, match="codec_ids"):
        run_campaign(alone, tmp_path / "run", 1, progress=False)
    with pytest.raises(RunError, match="are both named 'adaptive'"):
        run_campaign(dataclasses.replace(plan, codecs=("adaptive", str(mine))), tmp_path / "both", 1, progress=False)
    run_campaign(alone, tmp_path / "other", 1, progress=False)
    tiles = [tile for run in ("run", "other") for tile in RunLog(tmp_path / run).tiles()]
    assert "networks of different weights are mixed, decoder id" in mixture_warnings(tiles)[0]
    assert not mixture_warnings(tiles[: len(tiles) // 2])


def test_other_tiles_under_the_same_name_are_noticed(plan, tmp_path):
    folder = tmp_path / "tiles"
    folder.mkdir()
    for value in (10, 200):
        Image.new("RGB", (64, 64), (value, 0, 0)).save(folder / "a.png")
        changed = dataclasses.replace(plan, data=str(folder), limit=None)
        if value == 10:
            run_campaign(changed, tmp_path / "run", 1, progress=False)
            runner._tiles.cache_clear()
        else:
            with pytest.raises(RunError, match="scene: "):
                run_campaign(changed, tmp_path / "run", 1, progress=False)


def test_a_channel_that_is_not_there_stops_the_campaign_before_it_starts(plan, tmp_path):
    with pytest.raises(DjsccError, match="vacuum"):
        run_campaign(dataclasses.replace(plan, channels=("awgn", "vacuum")), tmp_path, 1, progress=False)
    assert not (tmp_path / "frames.jsonl").exists()


def test_workers_give_the_same_as_one_process(plan, tmp_path):
    one = run_campaign(plan, tmp_path / "one", workers=1, progress=False)
    two = run_campaign(plan, tmp_path / "two", workers=2, progress=False)
    one, two = ({(t["point"], t["index"]): t["psnr_db"] for t in run.tiles()} for run in (one, two))
    assert one.keys() == two.keys()
    assert one == two


def test_what_a_frame_meets_depends_on_its_number_alone(plan, tmp_path, monkeypatch):
    """Parts of any size, begun again anywhere, over fading: the same values."""
    small = dataclasses.replace(plan, ratios=(1 / 24,), limit=9, tiles_per_frame=2, channels=("rician-k10",), told=True)
    whole = run_campaign(small, tmp_path / "whole", workers=1, progress=False)
    monkeypatch.setattr("djscc.campaign.parts.PART_TILES", 2)
    parts = run_campaign(small, tmp_path / "parts", workers=1, progress=False)
    lines = parts.frames.read_bytes().splitlines(keepends=True)
    parts.frames.write_bytes(b"".join(lines[::2]))
    run_campaign(small, parts.folder, workers=1, progress=False)
    assert len(parts.frames.read_bytes().splitlines()) == len(lines) == 10
    assert parts.sessions()[-1]["tiles_x_points"] == sum(len(json.loads(line)["tiles"]) for line in lines[1::2])

    def values(run):
        return {(t["point"], t["frame_number"], t["index"]): t["psnr_db"] for t in run.tiles()}

    assert values(parts) == values(whole) and len(set(values(whole).values())) == 18


def test_parts_hold_every_frame_once_and_the_originals_together(plan):
    many = dataclasses.replace(plan, limit=None, tiles_per_frame=64, repeat=2)
    parts = list(cut_parts(many, 700, {}))
    frames = Counter((part.point.key, frame) for part in parts for frame in part.frames)
    assert len(frames) == 4 * 22 and set(frames.values()) == {1}
    assert sum(part.tiles for part in parts) == 4 * 2 * 700
    assert [part.frames for part in parts[:5]] == [range(4)] * 4 + [range(4, 8)]
    done = {parts[0].point.key: set(range(21))}
    assert next(cut_parts(many, 700, done)).point != parts[0].point
    assert [p.tiles for p in cut_parts(many, 700, done) if p.point == parts[0].point] == [700 - 10 * 64]


def test_more_frames_than_header_numbers(plan, tmp_path):
    """70,000 frames a point: numbers in headers begin again at 65,536, those of the log do not."""
    few = dataclasses.replace(plan, ratios=(1 / 24,), snr_db=(10.0,), limit=1, tiles_per_frame=1, repeat=70_000)
    log = RunLog(tmp_path)
    point = next(few.points())
    log.append_all([{"point": point.key, "frame_number": n, "scene_id": "1", "tiles": []} for n in range(69_998)])
    assert sum(1 for _ in log.records()) == 69_998
    assert [p.frames for p in cut_parts(few, 1, log.logged())] == [(69_998, 69_999)]
    counter = FrameCounter()
    headers = [SimpleNamespace(frame_number=n & 0xFFFF) for n in range(70_000)]
    assert [counter(headers[n]) for n in (0, 1, 2, 40_000 - 1, 65_535, 65_537, 65_536, 69_999, 69_999)] == [
        0, 1, 2, 39_999, 65_535, 65_537, 65_536, 69_999, 69_999,
    ]  # fmt: skip


def test_codecs_beside_the_plan_have_points_of_their_own(tmp_path):
    grid = Plan.load(DATA / "plans" / "paper-grid.yaml")
    points = list(grid.points())
    assert len(points) == 6 * 11 * 2 + 3 * 2
    assert {(p.ratio, p.snr_db) for p in points if p.codec.startswith("reference")} == {
        (1 / 12, -2.99), (1 / 12, 0.01), (1 / 12, 3.01),
    }  # fmt: skip
    for beside, message in (
        ("[{codec: x}]", "beside: unknown setting codec"),
        ("[3]", "beside"),
        ("[{snr_db: .nan}]", "in dB"),
    ):
        (tmp_path / "p.yaml").write_text(f"name: x\nratios: [1/4]\nsnr_db: [0]\nbeside: {beside}\n")
        with pytest.raises(PlanError, match=message):
            Plan.load(tmp_path / "p.yaml")


@pytest.mark.timeout(300)  # four processes start, one after the other on a busy machine
def test_writers_of_one_log_do_not_take_each_others_lines_for_torn(tmp_path):
    def write(number):
        for i in range(60):
            RunLog(tmp_path).append({"frame_number": i, "writer": number, "filling": 400_000 * "x"})

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    lines = (tmp_path / "frames.jsonl").read_text().splitlines()
    assert len(lines) == 240 and all(len(line) > 400_000 for line in lines)


def test_a_process_that_is_killed_is_replaced(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("djscc.campaign.parts.PART_TILES", 4)
    plan = dataclasses.replace(plan, limit=16, tiles_per_frame=2, repeat=2)
    log, errors = RunLog(tmp_path / "run"), []

    def run():
        try:
            run_campaign(plan, log.folder, workers=2, progress=False)
        except DjsccError as error:
            errors.append(error)

    campaign = threading.Thread(target=run)
    campaign.start()
    while campaign.is_alive() and not log.frames.exists():
        time.sleep(0.02)
    assert campaign.is_alive(), "the campaign ended before a process could be killed"
    multiprocessing.active_children()[0].kill()
    campaign.join(200)
    assert not campaign.is_alive() and not errors
    assert len(log.frames.read_text().splitlines()) == 4 * 16
    assert len(log.tiles()) == 4 * 32


def test_a_run_says_what_it_was_run_with_and_how_fast(plan, tmp_path):
    log = run_campaign(plan, tmp_path, workers=1, progress=False)
    versions = log.settings()["versions"]
    assert {"djscc", "python", "numpy", "torch"} <= versions.keys()
    if shutil.which("gnuradio-config-info"):
        assert versions["gnuradio"].startswith("3.")
    session = log.sessions()[-1]
    assert session["tiles_x_points"] == 16 and 0 < session["share_outside_networks"] < 1
    assert "16 tiles x points in" in speed_text(session) and "outside the networks" in speed_text(session)
    run_campaign(plan, tmp_path, workers=1, progress=False)  # nothing left: no new session
    assert len(log.sessions()) == 1


def test_a_run_becomes_a_table_of_cells(plan, tmp_path):
    log = run_campaign(dataclasses.replace(plan, data=str(DATA / "landsat")), tmp_path / "run", 1, progress=False)
    table = cells.write(log.folder, tmp_path / "out")
    rows = list(csv.DictReader(table.open()))
    points = {p["point"]: p for p in point_means(log.records())}
    assert len(rows) == 2 * 4  # psnr, and mse out of it
    for row in (r for r in rows if r["metric"] == "psnr"):
        key = next(
            p.key
            for p in plan.points()
            if f"{p.ratio:.6f}" == f"{float(row['ratio']):.6f}" and p.snr_db == float(row["snr_db"])
        )
        values = [t["psnr_db"] for t in log.tiles() if t["point"] == key]
        assert (
            float(row["mean"])
            == pytest.approx(np.mean(values), abs=1e-4)
            == pytest.approx(points[key]["psnr_db"], abs=1e-4)
        )
        assert (
            float(row["standard_error"]) == pytest.approx(np.std(values, ddof=1) / 2, rel=0.01) and row["tiles"] == "4"
        )
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["data"] == "landsat"


def test_what_is_kept_is_bounded():
    made, cache = [], BoundedCache(100, len)
    for key in "abcab":
        cache.get(key, lambda key=key: made.append(key) or bytes(40))
    assert made == list("abcab") and len(cache) == 2  # two of 40 bytes fit
    assert cache.get("b", lambda: pytest.fail("was kept")) == bytes(40)
    assert len(cache.get("big", lambda: bytes(500))) == 500 and len(cache) == 1


def test_a_ratio_that_the_codec_has_not_stops_the_campaign_at_once(plan, tmp_path):
    with pytest.raises(DjsccError, match=r"ratio 0\.5: codec adaptive"):
        run_campaign(dataclasses.replace(plan, ratios=(1 / 2,)), tmp_path, progress=False)
