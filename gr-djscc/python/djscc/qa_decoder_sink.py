# SPDX-License-Identifier: GPL-3.0-or-later
"""decoder_sink: whole frames to the decoder; when it is slow they wait, or are dropped and counted; errors end the flowgraph."""

import json
import pathlib
import tempfile
import time
import unittest.mock

import numpy as np
import pmt
from gnuradio import blocks, djscc, gr, gr_unittest
from gnuradio.djscc.frame_tags import FRAME, frame_tag
from gnuradio.djscc.image_message import read_image_message
from qa_support import REPORT, Collector, MessageCollector, TaggedSource, random_frames

from djscc.errors import DjsccError


class qa_decoder_sink(gr_unittest.TestCase):
    def sources(self, frames, erased=()):
        symbols = np.concatenate([payload for _, payload in frames])
        variance = np.full(len(symbols), 0.1, np.float32)
        variance[list(erased)] = np.inf
        starts = np.cumsum([0] + [len(payload) for _, payload in frames])
        tags = [(int(at), FRAME, frame_tag(header, REPORT)) for at, (header, _) in zip(starts, frames, strict=False)]
        return TaggedSource(symbols, tags), TaggedSource(variance)

    def run_sink(self, frames, sink, most_items=None, erased=(), stall_s=20):
        sources, messages, flowgraph = self.sources(frames, erased), MessageCollector(), gr.top_block()
        for port, source in enumerate(sources):
            if most_items:
                source.set_max_noutput_items(most_items[port])
            flowgraph.connect(source, (sink, port))
        flowgraph.msg_connect(sink, "metrics", messages, "in")
        flowgraph.msg_connect(sink, "image", messages, "in")
        djscc.run_to_end(flowgraph, [sink], stall_s)
        return messages.messages

    def test_frames_whatever_the_buffers(self):
        frames = random_frames(4, layers=1)
        for most_items in ((1, 1), (7, 1000), (1000, 11), None):
            with self.subTest(most_items=most_items):
                taker = Collector()
                self.run_sink(frames, djscc.decoder_sink(taker), most_items, erased=range(5, 10))
                self.assertEqual([frame.header for frame in taker.frames], [header for header, _ in frames])
                for frame, (_, payload) in zip(taker.frames, frames, strict=True):
                    np.testing.assert_array_equal(frame.symbols, payload)
                    self.assertEqual(frame.report, REPORT)
                np.testing.assert_array_equal(np.flatnonzero(~taker.frames[0].received), np.arange(5, 10))

    def test_frames_longer_than_any_buffer(self):
        frames, taker = random_frames(2, tiles=64, layers=32), Collector()
        self.run_sink(frames, djscc.decoder_sink(taker))
        for frame, (_, payload) in zip(taker.frames, frames, strict=True):
            np.testing.assert_array_equal(frame.symbols, payload)

    def test_block_waits_for_a_slow_decoder_to_the_last_frame(self):
        taker = Collector(delay_s=0.1)
        sink = djscc.decoder_sink(taker, "block", queue_frames=1)
        messages = self.run_sink(random_frames(8), sink)
        self.assertEqual(taker.numbers, list(range(8)))
        self.assertEqual((sink.frames, sink.frames_dropped), (8, 0))
        self.assertEqual(len(messages), 16)  # metrics and image of each, the last ones too

    def test_drop_counts_what_a_slow_decoder_misses(self):
        taker = Collector(delay_s=0.1)
        sink = djscc.decoder_sink(taker, "drop", queue_frames=1)
        self.run_sink(random_frames(20), sink)
        self.assertGreater(sink.frames_dropped, 10)
        self.assertEqual(sink.frames + sink.frames_dropped, 20)
        self.assertEqual(len(taker.frames), sink.frames)

    def test_error_of_the_decoder_ends_the_flowgraph(self):
        for most_items in ((50, 50), None):
            with self.subTest(most_items=most_items), self.assertRaisesRegex(RuntimeError, "the decoder broke"):
                self.run_sink(random_frames(4), djscc.decoder_sink(Collector(0.05, fail_at=1)), most_items)

    def test_error_on_the_last_frame_is_not_lost(self):
        with self.assertRaisesRegex(RuntimeError, "the decoder broke"):
            self.run_sink(random_frames(3), djscc.decoder_sink(Collector(0.1, fail_at=2)))

    def test_error_when_closing_is_raised_and_ends_nothing_else(self):
        class Full(Collector):
            def close(self):
                raise RuntimeError("the disk is full")

        with self.assertRaisesRegex(RuntimeError, "the disk is full"):
            self.run_sink(random_frames(2), djscc.decoder_sink(Full()))

        class Broken(Full):
            def accept(self, frame):
                raise ValueError("this frame")

        with self.assertRaisesRegex(ValueError, "this frame"):  # the first error is the one to know
            self.run_sink(random_frames(2), djscc.decoder_sink(Broken()))

    def test_symbols_of_no_frame_are_an_error(self):
        flowgraph, sink = gr.top_block(), djscc.decoder_sink(Collector())
        sources = [blocks.vector_source_c([1.0] * 10), blocks.vector_source_f([1.0] * 10)]
        for port, source in enumerate(sources):
            flowgraph.connect(source, (sink, port))
        with self.assertRaisesRegex(ValueError, "symbol 0 belongs to no frame"):
            djscc.run_to_end(flowgraph, [sink], 20)

    def test_stop_in_the_middle(self):
        source = djscc.encoder_source(random_frames(2), repeat=True)
        sink = djscc.decoder_sink(Collector(delay_s=0.2))
        # the encoder's tags hold no report: give them one on the way
        relay = Relay()
        variance = blocks.vector_source_f([0.1] * 1000, True)
        flowgraph = gr.top_block()
        flowgraph.connect(source, relay, sink)
        flowgraph.connect(variance, (sink, 1))
        flowgraph.start()
        time.sleep(0.5)
        start = time.monotonic()
        flowgraph.stop()
        flowgraph.wait()
        self.assertLess(time.monotonic() - start, 2)
        self.assertIsNone(sink.error)
        self.assertGreater(sink.frames, 0)

    def test_stop_does_what_is_queued_and_counts_the_rest(self):
        frames = random_frames(12)
        for drain_s, all_done in ((10.0, True), (0.3, False)):
            with self.subTest(drain_s=drain_s), unittest.mock.patch("gnuradio.djscc.decoder_sink.DRAIN_S", drain_s):
                taker = Collector(delay_s=0.15)
                sink, flowgraph = djscc.decoder_sink(taker, "drop", queue_frames=12), gr.top_block()
                sources = self.sources(frames)
                for port, source in enumerate(sources):
                    flowgraph.connect(source, (sink, port))
                flowgraph.start()
                time.sleep(0.5)
                flowgraph.stop()
                flowgraph.wait()
                self.assertEqual(sink.frames + sink.frames_dropped, 12)
                self.assertEqual(sink.frames_dropped == 0, all_done)
                self.assertEqual(len(taker.frames), sink.frames)

    def test_a_folder_that_holds_a_run_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            djscc.decoder_sink.make(run=folder)
            djscc.decoder_sink.make(run=folder)  # nothing was logged yet
            pathlib.Path(folder, "frames.jsonl").write_text("{}\n")
            with self.assertRaisesRegex(DjsccError, "holds a run already"):
                djscc.decoder_sink.make(run=folder)

    def test_messages(self):
        messages = self.run_sink(random_frames(1), djscc.decoder_sink(Collector()))
        metrics, image = messages
        means, record = pmt.to_python(pmt.car(metrics)), json.loads(bytes(pmt.u8vector_elements(pmt.cdr(metrics))))
        self.assertEqual((means["psnr_db"], means["snr_est_db"], means["frame_number"]), (30.5, 9.0, 0))
        self.assertEqual(len(record["tiles"]), 2)
        about, tiles = read_image_message(image)
        self.assertEqual((about["tiles_total"], about["psnr_db"], tiles.shape), (2, 30.5, (2, 64, 64, 3)))

    def test_wrong_values(self):
        with self.assertRaisesRegex(ValueError, "when_full 'maybe'"):
            djscc.decoder_sink(Collector(), "maybe")
        with self.assertRaisesRegex(ValueError, "queue of 0"):
            djscc.decoder_sink(Collector(), queue_frames=0)
        with self.assertRaisesRegex(ValueError, "no/such/folder"):
            djscc.decoder_sink.make(references="no/such/folder")


class Relay(gr.sync_block):
    """Gives frames a report, as a receiver would."""

    def __init__(self):
        gr.sync_block.__init__(self, "relay", [np.complex64], [np.complex64])
        self.set_tag_propagation_policy(gr.TPP_DONT)

    def work(self, input_items, output_items):
        n = len(output_items[0])
        output_items[0][:] = input_items[0][:n]
        for tag in self.get_tags_in_window(0, 0, n):
            if pmt.eq(tag.key, FRAME):
                self.add_item_tag(
                    0, tag.offset, FRAME, pmt.dict_add(tag.value, pmt.intern("report"), pmt.to_pmt(REPORT.to_dict()))
                )
        return n


if __name__ == "__main__":
    gr_unittest.run(qa_decoder_sink)
