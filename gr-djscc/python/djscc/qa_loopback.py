# SPDX-License-Identifier: GPL-3.0-or-later
"""loopback: the whole chain as a running flowgraph, with random symbols and with real images."""

import numpy as np
from gnuradio import djscc, gr_unittest
from qa_support import Collector, random_frames

from djscc.campaign import resolve_data
from djscc.campaign.reception import FrameSink
from djscc.campaign.sender import FrameSource
from djscc.channels import SampleChannel, load_channel
from djscc.codec import load_codec
from djscc.imagery import load_tiles
from djscc.waveform import WaveformSettings


def sample_channel(settings, name="awgn", **values):
    description = load_channel(name).replace(values)
    return SampleChannel(description, settings.sample_rate, settings.samples_per_symbol, settings.mean_power, 1)


class qa_loopback(gr_unittest.TestCase):
    def run_random(self, frames, taker=None, settings=None, name="awgn", **values):
        settings, taker = settings or WaveformSettings(), taker or Collector()
        flowgraph = djscc.loopback(frames, taker, sample_channel(settings, name, **values), settings)
        flowgraph.run_to_end(30)
        return flowgraph, taker

    def errors_db(self, frames, taker):
        self.assertEqual(taker.numbers, [header.frame_number for header, _ in frames])
        pairs = zip(taker.frames, frames, strict=True)
        return [10 * np.log10(np.mean(np.abs(got.symbols - sent) ** 2)) for got, (_, sent) in pairs]

    def test_clean_channel(self):
        frames = random_frames(4, tiles=8)
        flowgraph, taker = self.run_random(frames, snr_db=None)
        self.assertLess(max(self.errors_db(frames, taker)), -20)
        self.assertEqual(flowgraph.counters.frames, 4)

    def test_one_frame_alone(self):
        frames = random_frames(1)
        self.assertLess(self.errors_db(frames, self.run_random(frames, snr_db=20)[1])[0], -16)

    def test_impairments(self):
        frames = random_frames(4, tiles=8)
        values = {"snr_db": 15, "cfo_hz": 12_500, "clock_ppm": 8, "delay_samples": 7.4}
        _, taker = self.run_random(frames, name="rician-k100", **values)
        self.assertLess(np.mean(self.errors_db(frames, taker)), -12)

    def test_other_rates(self):
        frames, settings = random_frames(2), WaveformSettings(2.5e5, 4, 0.35)
        _, taker = self.run_random(frames, settings=settings, snr_db=20)
        self.assertLess(max(self.errors_db(frames, taker)), -16)

    def test_frames_longer_than_any_buffer(self):
        frames = random_frames(2, tiles=64, layers=16)
        _, taker = self.run_random(frames, snr_db=20)
        self.assertLess(max(self.errors_db(frames, taker)), -16)

    def test_same_seed_same_symbols(self):
        runs = [self.run_random(random_frames(2), name="rician-k10", snr_db=5)[1] for _ in range(2)]
        for first, second in zip(runs[0].frames, runs[1].frames, strict=True):
            np.testing.assert_allclose(first.symbols, second.symbols, atol=1e-3)

    def test_an_error_at_either_end_comes_to_the_caller(self):
        def broken():
            yield from random_frames(2)
            raise RuntimeError("the encoder broke")

        taker = Collector(delay_s=0.2)
        with self.assertRaisesRegex(RuntimeError, "the encoder broke"):
            self.run_random(broken(), taker)
        self.assertEqual(taker.numbers, [0, 1])  # what was sent before is received and decoded
        with self.assertRaisesRegex(RuntimeError, "the decoder broke"):
            self.run_random(random_frames(4), Collector(fail_at=1))

    def test_a_codec_that_is_not_there_is_refused_and_logged(self):
        sink = FrameSink(metrics=("psnr_db",))
        self.run_random(random_frames(2), sink, snr_db=20)
        self.assertEqual([record["frame_number"] for record in sink.records], [0, 1])
        for record in sink.records:
            self.assertIn("fedcba98", record["refused"])

    def test_images(self):
        tiles = load_tiles(resolve_data("landsat")).take(16)
        codec, settings = load_codec("adaptive"), WaveformSettings()
        source = FrameSource(tiles, codec, codec.layers_for_ratio(1 / 12), tiles_per_frame=8)
        sink = FrameSink([codec], tiles, metrics=("psnr_db",))
        djscc.loopback(source, sink, sample_channel(settings, snr_db=20), settings).run_to_end(30)
        self.assertEqual([record["frame_number"] for record in sink.records], [0, 1])
        quality = [tile["psnr_db"] for record in sink.records for tile in record["tiles"]]
        self.assertEqual(len(quality), 16)
        self.assertGreater(np.mean(quality), 22)


if __name__ == "__main__":
    gr_unittest.run(qa_loopback)
