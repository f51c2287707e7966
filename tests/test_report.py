# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: one page that needs nothing beside it, whole for whole runs and honest for others."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from djscc.campaign import RunError, RunLog
from djscc.imagery import load_image
from djscc.report import ReportError, write_report
from djscc.report.receiver import _frames_table
from djscc.report.runs import Run, ratio_text
from djscc.report.scene import scene, whole
from PIL import Image
from synthetic_runs import RATIOS, SNRS, write_run


class Page(HTMLParser):
    """What a test asks of a page: that it is well formed, what it says, and what it would load."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.loads, self.tags, self.images = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"tags left open: {self.open}"
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [
            v for k, v in attrs if k in ("src", "href", "xlink:href") and not re.match(r"#|data:image/png;base64,", v)
        ]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.text.append(data)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    run = write_run(folder / "run", metrics=("psnr",), tiles=12, lost=[(RATIOS[0], SNRS[0])])
    index = write_report([run], folder / "out")
    return index, Page(index.read_text())


def test_page_needs_nothing_beside_it(demo):
    index, page = demo
    assert index.name == "index.html"
    assert page.loads == []
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"@import|url\((?!#)", index.read_text())


def test_page_shows_pictures_over_the_plane(demo):
    _, page = demo
    described = [image["alt"] for image in page.images]
    assert described.count("the tile that was sent") == 3
    assert described.count("received at ratio 1/12 and 5 dB") == 3
    assert len(described) == 3 * (1 + 14)
    assert "frame lost" in page.words and "a typical tile (median PSNR)" in page.words


def test_page_says_how_much_arrived_and_from_where(demo):
    _, page = demo
    assert (
        "12 image tiles sent at 3 ratios (1/48, 1/24, 1/12) and 5 SNRs from \N{MINUS SIGN}5 to 15 dB. 14 frames of 15 arrived."
        in page.words
    )
    assert "means over 12 tiles with 95 % intervals" in page.words
    assert "carrier frequency offset (Hz) 12500 12" in page.words
    assert "adaptive 1234abcd" in page.words and "impairments:" in page.words


def test_page_gives_forms_equation_and_warnings(demo):
    _, page = demo
    for words in (
        "rate-like exponential",
        "shifted sigmoid plus exponential",
        "Selected by held-out error",
        "95 % interval",
    ):
        assert words in page.words
    assert "Not fitted: alpha-beta-gamma (ABG), which needs at least 4 ratios, the log has 3." in page.words
    assert "12 tiles of lost frames have no loss" in page.words
    assert "The semantic loss" in page.words and "What one metric says of another" in page.words


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")


def browse(page, profile, width, *arguments):
    """Load a page in a headless Chromium with a profile of its own; returns what it prints."""
    quiet = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")
    size = ("--hide-scrollbars", f"--window-size={width},1600")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        *quiet,
        f"--user-data-dir={profile}",
        *size,
        *arguments,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout


@in_a_browser
@pytest.mark.parametrize("width", [1280, 600])
def test_a_browser_lays_the_page_out_whole(demo, tmp_path, width):
    """A script in a copy of the page asks the browser itself: nothing wider than the window, every picture decoded, every figure
    and table of some size, every link of the page leading somewhere."""
    questions = """<script>
        const all = (what) => [...document.querySelectorAll(what)], box = (e) => e.getBoundingClientRect();
        all("details").forEach((e) => { e.open = true; });
        document.title = JSON.stringify({
          wide: document.documentElement.scrollWidth - window.innerWidth,
          undecoded: all("img").filter((e) => !e.complete || e.naturalWidth < 8).length,
          flat: all("figure svg, .equation svg, table").filter((e) => box(e).width < 50 || box(e).height < 15).length,
          outside: all("figure").filter((e) => box(e).right > window.innerWidth).length,
          lost: all("nav a").filter((e) => !document.querySelector(e.getAttribute("href"))).length,
          figures: all("figure svg").length, images: all("img").length,
        });
    </script></body>"""
    copy = tmp_path / "page.html"
    copy.write_text(demo[0].read_text().replace("</body>", questions))
    dom = browse(copy, tmp_path / "profile", width, "--dump-dom")
    answers = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom)[1]))
    assert answers.pop("figures") >= 8 and answers.pop("images") == 3 * (1 + 14)
    assert answers.pop("wide") <= 0
    assert answers == {"undecoded": 0, "flat": 0, "outside": 0, "lost": 0}


@in_a_browser
def test_a_browser_paints_the_page(demo, tmp_path):
    shot = tmp_path / "shot.png"
    browse(demo[0], tmp_path / "profile", 1280, f"--screenshot={shot}")
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape == (1600, 1280, 3)
    assert pixels.max() - pixels.min() > 200 and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 200


def test_figures_lie_beside_the_page(demo):
    index, page = demo
    files = {file.name for file in index.parent.glob("*.png")}
    assert {"quality_psnr_adaptive_rician-k10.png", "surface_psnr_adaptive_rician-k10.png"} <= files
    assert {"pictures_adaptive_rician-k10.png", "snr_estimate_adaptive_rician-k10.png"} <= files
    assert all(name in page.words for name in files)


def test_ink_follows_the_theme(demo):
    page = demo[0].read_text()
    svg = page[page.index("<svg") :]
    assert "var(--ink)" in svg and "#23272b" not in svg and "prefers-color-scheme: dark" in page


def test_several_runs_codecs_and_channels(tmp_path):
    options = {"metrics": ("ssim",), "tiles": 4}
    runs = [
        write_run(tmp_path / "one", **options),
        write_run(tmp_path / "two", codec="reference", channel="awgn", level="symbols", pictures=0, **options),
    ]
    page = Page(write_report(runs, tmp_path / "out").read_text())
    for words in (
        "Adaptive over rician-k10",
        "Reference over awgn",
        "Codecs and channels side by side",
        "The run kept no pictures",
    ):
        assert words in page.words
    assert "This run was at symbol level" in page.words
    assert (tmp_path / "out" / "comparison_ssim.png").is_file()


def test_over_the_air_without_originals(tmp_path):
    run = write_run(
        tmp_path / "air",
        over_the_air=True,
        channel=None,
        metrics=(),
        ratios=(1 / 12,),
        snrs=(3.0, 8.0),
        tiles=3,
        pictures=2,
    )
    (run / "run.yaml").unlink()
    for file in (run / "sent").iterdir():
        file.unlink()
    page = Page(write_report([run], tmp_path / "out").read_text())
    for words in ("Adaptive over the air", "holds no quality metric", "original not kept", "has no run.yaml"):
        assert words in page.words


def test_too_few_points_for_a_fit(tmp_path):
    run = write_run(tmp_path / "run", ratios=(1 / 12,), snrs=(0.0,), metrics=("ssim",), tiles=3, pictures=0)
    page = Page(write_report([run], tmp_path / "out").read_text())
    assert "no surface could be fitted" in page.words
    assert "only 1 ratio(s) were measured" in page.words


def test_decisions_on_labelled_tiles(tmp_path):
    run = write_run(tmp_path / "run", ratios=(1 / 12,), snrs=(0.0, 9.0), metrics=("accuracy",), tiles=20, pictures=0)
    page = Page(write_report([run], tmp_path / "out").read_text())
    assert "Decisions on received tiles over their labels" in page.words and "20 tiles a point" in page.words
    assert (tmp_path / "out" / "confusion_adaptive_rician-k10.png").is_file()


def test_over_a_pass_frames_are_counted_together():
    passed = [
        {"ratio": 1 / 12, "on_air_ratio": 0.09, "snr_db": 0.1 * i, "elevation_deg": 5.0 + i, "received": True}
        for i in range(50)
    ]
    page = _frames_table([*passed, {"ratio": 1 / 12, "on_air_ratio": 0.09, "snr_db": None, "received": False}], True)
    assert page.count("<th") < 8 and "50 / 51" in page


def test_names_from_a_log_are_escaped(tmp_path):
    run = write_run(tmp_path / "run", ratios=(1 / 12,), snrs=(0.0, 5.0), metrics=(), tiles=1, pictures=0)
    log = RunLog(run)
    record = next(log.records()) | {"codec": "<script>alert(1)</script>", "frame_number": 77}
    log.append(record)
    page = Page(write_report([run], tmp_path / "out").read_text())
    assert "script" not in page.tags and "<script>alert(1)</script>" in page.words


def test_folders_without_a_run_are_named(tmp_path):
    with pytest.raises(RunError, match="nowhere"):
        write_report([tmp_path / "nowhere"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "frames.jsonl").touch()
    with pytest.raises(ReportError, match="holds no frames yet"):
        write_report([tmp_path / "empty"], tmp_path / "out")


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.083333, "1/12"), (1 / 48, "1/48"), (0.5, "1/2"), (3 / 8, "3/8"), (1, "1"), (0.0312, "1/32")]
)
def test_ratios_read_as_people_write_them(ratio, text):
    assert ratio_text(ratio) == text


def test_a_receiver_alone_does_not_say_what_was_sent(tmp_path):
    run = write_run(
        tmp_path / "air", over_the_air=True, channel=None, metrics=(), ratios=(1 / 12,), tiles=3, pictures=0
    )
    settings = yaml.safe_load((run / "run.yaml").read_text())
    settings["settings"]["source"] = "pluto:ip:192.168.2.1"
    (run / "run.yaml").write_text(yaml.safe_dump(settings))
    frames = [json.loads(line) for line in (run / "frames.jsonl").read_text().splitlines()]
    for frame, lost in zip(frames, (3, -3, 0, 0, 0), strict=True):
        frame["lost_samples"] = lost
    (run / "frames.jsonl").write_text("".join(json.dumps(frame) + "\n" for frame in frames))
    page = Page(write_report([run], tmp_path / "out").read_text())
    assert "5 frames arrived; how many were sent, a receiver alone cannot know" in page.words
    assert "5 / 5" not in page.words and "lost or doubled 6 samples" in page.words
    settings["settings"]["prbs"] = True
    (run / "run.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ReportError, match="a run of test frames"):
        write_report([run], tmp_path / "out")


def test_decisions_of_points_half_a_db_apart_are_not_mixed(tmp_path):
    snrs = (0.5, 1.5, 2.5, 3.5)
    run = write_run(tmp_path / "run", ratios=(1 / 12,), snrs=snrs, metrics=("accuracy",), tiles=10, pictures=0)
    page = Page(write_report([run], tmp_path / "out").read_text())
    assert "10 tiles a point" in page.words


def test_whole_images_are_shown_where_images_were_sent(tmp_path):
    run = write_run(tmp_path / "run", ratios=(1 / 12,), snrs=(5.0,), metrics=("psnr",), tiles=4, pictures=0)
    point = RunLog(run).tiles()[0]["point"]
    (run / "received").mkdir(exist_ok=True)
    Image.new("RGB", (1000, 500), (10, 90, 30)).save(run / "received" / f"{point}.png")
    page = Page(write_report([run], tmp_path / "out").read_text())
    assert "Whole images as received" in page.words and "kept no pictures" not in page.words


def test_pictures_of_repeated_frames_are_found(tmp_path):
    run = Run(write_run(tmp_path / "run", ratios=(1 / 12,), snrs=(5.0,), tiles=2, pictures=2), {}, [], [])
    point = next((run.folder / "received").iterdir())
    tile = {"point": point.name, "index": 1, "frame_number": 7}
    assert run.received_picture(tile).is_file()
    point.rename(point.with_name(f"{point.name}_f00007"))
    assert run.received_picture(tile).is_file()


def test_a_scene_is_drawn_of_all_its_tiles_or_not_at_all(tmp_path):
    log = RunLog(write_run(tmp_path / "run", ratios=(1 / 12,), snrs=(5.0,), tiles=4, pictures=4))
    record = next(log.records())
    assert scene(log, [(1 / 12, 5.0)]).axes
    sent = [load_image(log.folder / "sent" / f"{i:05d}.png") for i in range(4)]
    side = len(sent[0])
    drawn = whole(log.folder / "sent", 4, lost={2})
    assert np.array_equal(drawn[:side, side:], sent[1]) and (drawn[side:, :side] == 128).all()
    (log.folder / "received" / record["point"] / "00003.png").unlink()
    with pytest.raises(ReportError, match="3 pictures of 4 tiles; run the campaign with pictures: 4"):
        scene(log, [(1 / 12, 5.0)])
