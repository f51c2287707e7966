# SPDX-License-Identifier: GPL-3.0-or-later
"""channel: the library's SampleChannel on a stream, its whole end, and changes while it runs."""

from pathlib import Path

import numpy as np
import pmt
import yaml
from gnuradio import blocks, djscc, gr, gr_unittest
from gnuradio.djscc.frame_tags import END
from qa_support import TaggedSource

from djscc.channels import ChannelError, SampleChannel, load_channel

BLOCK = Path(__file__).parents[2] / "grc" / "djscc_channel.block.yml"
VALUES = {"snr_db": 12, "cfo_hz": 1500, "clock_ppm": 20, "delay_samples": 5.3}


def sample_channel(name, **values):
    return SampleChannel(load_channel(name).replace(values), 2e6, 2, 0.125, 3)


class qa_channel(gr_unittest.TestCase):
    def setUp(self):
        generator = np.random.default_rng(1)
        parts = generator.standard_normal((2, 50_000)) / 4
        self.samples = (parts[0] + 1j * parts[1]).astype(np.complex64)

    def run_channel(self, channel, most_items=None):
        source = TaggedSource(self.samples, [(len(self.samples) - 1, END, pmt.PMT_T)])
        sink, flowgraph = blocks.vector_sink_c(), gr.top_block()
        if most_items:
            source.set_max_noutput_items(most_items)
        flowgraph.connect(source, channel, sink)
        djscc.run_to_end(flowgraph, [channel], 20)
        return np.array(sink.data(), np.complex64)

    def test_same_as_the_library_whatever_the_buffers(self):
        for name in ("awgn", "rician-k10"):
            direct = sample_channel(name, **VALUES)
            expected = np.concatenate([direct.push(self.samples), direct.flush()])
            for most_items in (97, None):
                with self.subTest(name=name, most_items=most_items):
                    got = self.run_channel(djscc.channel(sample_channel(name, **VALUES)), most_items)
                    np.testing.assert_allclose(got, expected, atol=1e-5)

    def test_no_channel_changes_nothing(self):
        values = {"snr_db": None}
        np.testing.assert_array_equal(self.run_channel(djscc.channel(sample_channel("awgn", **values))), self.samples)

    def test_change_of_offset_keeps_the_phase(self):
        channel, ones = sample_channel("awgn", snr_db=None, cfo_hz=3000), np.ones(10_000, np.complex64)
        first = channel.push(ones)
        channel.change(cfo_hz=-7000)
        both = np.concatenate([first, channel.push(ones)])
        hz = np.angle(both[1:] * both[:-1].conj()) / (2 * np.pi) * 2e6
        np.testing.assert_allclose(hz[: len(first) - 1], 3000, atol=1)
        np.testing.assert_allclose(hz[len(first) :], -7000, atol=1)
        self.assertLess(abs(hz[len(first) - 1]), 7001)  # from the last sample before to the first after

    def test_setters_while_it_runs(self):
        channel = djscc.channel.make("awgn", snr_db=60)
        source = blocks.vector_source_c([1 + 0j] * 1000, True)
        head, sink = blocks.head(gr.sizeof_gr_complex, 1_000_000), blocks.vector_sink_c()
        flowgraph = gr.top_block()
        flowgraph.connect(source, channel, head, sink)
        flowgraph.start()
        channel.set_snr_db(0.0)
        channel.set_cfo_hz(1e5)
        flowgraph.wait()
        self.assertIsNone(channel.error)
        end = np.array(sink.data()[-100_000:])
        turn = np.angle(np.sum(end[1:] * end[:-1].conj()))
        self.assertAlmostEqual(turn, 2 * np.pi * 1e5 / 2e6, delta=0.02)

    def test_plain_values_replace_those_of_the_description(self):
        channel = djscc.channel.make("bench-pluto", snr_db=3.0)
        description = channel._channel.description
        self.assertEqual((description.snr_db, description.cfo_hz), (3.0, 12000))

    def test_noise_follows_the_modulators_back_off(self):
        power = []
        for back_off_db in (9.0, 15.0):
            samples = djscc.channel.make("awgn", snr_db=10.0, back_off_db=back_off_db)._channel
            power.append(np.mean(np.abs(samples.push(np.zeros(100_000, np.complex64))) ** 2))
        self.assertAlmostEqual(10 * np.log10(power[0] / power[1]), 6, delta=0.1)  # 4 standard deviations are 0.08 dB

    def test_every_channel_that_the_block_offers_is_there(self):
        parameters = {p["id"]: p for p in yaml.safe_load(BLOCK.read_text())["parameters"]}
        names = [name for name in parameters["preset"]["options"] if name != "file"]
        self.assertEqual(len(parameters["preset"]["option_labels"]), len(names) + 1)
        for name in names:
            djscc.channel.make(name)

    def test_unknown_channel(self):
        with self.assertRaisesRegex(ChannelError, "no-such"):
            djscc.channel.make("no-such")


if __name__ == "__main__":
    gr_unittest.run(qa_channel)
