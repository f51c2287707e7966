# SPDX-License-Identifier: GPL-3.0-or-later
"""frame_modulator: the samples of the library's Modulator, whole, and an error where frames are not told apart."""

import numpy as np
import pmt
from gnuradio import blocks, djscc, gr, gr_unittest
from gnuradio.djscc.frame_tags import END, FRAME, frame_tag
from qa_support import TaggedSource, random_frames, tags_of

from djscc.waveform import Modulator, WaveformSettings


class qa_frame_modulator(gr_unittest.TestCase):
    def modulated(self, source, settings=None, most_items=None):
        modulator, sink = djscc.frame_modulator(settings), blocks.vector_sink_c()
        if most_items:
            source.set_max_noutput_items(most_items)
            modulator.set_max_noutput_items(most_items)
        flowgraph = gr.top_block()
        flowgraph.connect(source, modulator, sink)
        own = [block for block in (source, modulator) if hasattr(block, "error")]
        djscc.run_to_end(flowgraph, own, 20)
        return sink

    def expected(self, frames, settings=None):
        modulator = Modulator(settings)
        return np.concatenate([*(modulator.modulate(*frame) for frame in frames), modulator.guard()])

    def test_samples_whatever_the_buffers(self):
        frames = random_frames(3)
        for most_items in (13, 1000, None):
            with self.subTest(most_items=most_items):
                sink = self.modulated(djscc.encoder_source(frames), most_items=most_items)
                np.testing.assert_array_equal(np.array(sink.data(), np.complex64), self.expected(frames))
                self.assertEqual([offset for offset, _ in tags_of(sink, END)], [len(sink.data()) - 1])
                self.assertEqual(tags_of(sink, FRAME), [])  # the receiver is to know nothing of the transmitter

    def test_frames_longer_than_any_buffer(self):
        frames = random_frames(2, tiles=64, layers=32)
        sink = self.modulated(djscc.encoder_source(frames))
        np.testing.assert_array_equal(np.array(sink.data(), np.complex64), self.expected(frames))

    def test_settings(self):
        frames, settings = random_frames(1), WaveformSettings(5e5, 4, 0.35)
        sink = self.modulated(djscc.encoder_source(frames), settings)
        np.testing.assert_array_equal(np.array(sink.data(), np.complex64), self.expected(frames, settings))

    def test_each_frame_is_a_burst_filled_up(self):
        frames = random_frames(2)
        flowgraph, sink = gr.top_block(), blocks.vector_sink_c()
        source, modulator = djscc.encoder_source(frames), djscc.frame_modulator(multiple=5000)
        flowgraph.connect(source, modulator, sink)
        djscc.run_to_end(flowgraph, [source, modulator], 30)
        starts = [offset for offset, _ in tags_of(sink, pmt.intern("tx_sob"))]
        ends = [offset for offset, _ in tags_of(sink, pmt.intern("tx_eob"))]
        self.assertEqual(len(starts), 3)  # and one of silence
        self.assertEqual([end + 1 for end in ends], [*starts[1:], len(sink.data())])
        self.assertTrue(all(start % 5000 == 0 for start in [*starts, len(sink.data())]))
        samples = np.array(sink.data(), np.complex64)
        for start, frame in zip(starts, frames, strict=False):
            sent = Modulator().modulate(*frame)
            np.testing.assert_array_equal(samples[start : start + len(sent)], sent)
        with self.assertRaisesRegex(ValueError, "multiple of 0"):
            djscc.frame_modulator(multiple=0)

    def test_symbols_of_no_frame_are_an_error(self):
        with self.assertRaisesRegex(ValueError, "symbol 0 belongs to no frame"):
            self.modulated(blocks.vector_source_c([1.0] * 100))

    def test_what_is_no_header_is_an_error(self):
        with self.assertRaises((ValueError, KeyError, TypeError)):
            self.modulated(TaggedSource(np.ones(100, np.complex64), [(0, FRAME, pmt.to_pmt({"header": {}}))]))

    def test_symbols_that_are_not_finite_are_an_error(self):
        header, payload = random_frames(1)[0]
        payload[5] = np.nan
        with self.assertRaisesRegex(ValueError, "not finite"):
            self.modulated(TaggedSource(payload, [(0, FRAME, frame_tag(header))]))


if __name__ == "__main__":
    gr_unittest.run(qa_frame_modulator)
