# SPDX-License-Identifier: GPL-3.0-or-later
"""encoder_source: symbols, tags, ends."""

import time

import numpy as np
from gnuradio import blocks, djscc, gr, gr_unittest
from gnuradio.djscc.frame_tags import END, FRAME, read_header
from gnuradio.djscc.image_message import read_image_message
from qa_support import MessageCollector, random_frames, tags_of


class qa_encoder_source(gr_unittest.TestCase):
    def run_source(self, source, most_items=None):
        flowgraph, sink = gr.top_block(), blocks.vector_sink_c()
        if most_items:
            source.set_max_noutput_items(most_items)
        flowgraph.connect(source, sink)
        djscc.run_to_end(flowgraph, [source], 20)
        return sink

    def check(self, frames, sink):
        payload = np.concatenate([symbols for _, symbols in frames])
        np.testing.assert_array_equal(np.array(sink.data(), np.complex64), payload)
        starts = np.cumsum([0] + [len(symbols) for _, symbols in frames])
        tags = tags_of(sink, FRAME)
        self.assertEqual([offset for offset, _ in tags], starts[:-1].tolist())
        self.assertEqual([read_header(value) for _, value in tags], [header for header, _ in frames])
        self.assertEqual([offset for offset, _ in tags_of(sink, END)], [len(payload) - 1])

    def test_symbols_and_tags_whatever_the_buffers(self):
        frames = random_frames(4)
        for most_items in (1, 7, 100, None):
            with self.subTest(most_items=most_items):
                self.check(frames, self.run_source(djscc.encoder_source(frames), most_items))

    def test_frames_longer_than_any_buffer(self):
        frames = random_frames(2, tiles=64, layers=32)  # 131072 symbols each
        self.check(frames, self.run_source(djscc.encoder_source(frames)))

    def test_slow_encoder_loses_nothing(self):
        frames = random_frames(4)

        def slowly():
            for frame in frames:
                time.sleep(0.12)  # longer than work() waits
                yield frame

        self.check(frames, self.run_source(djscc.encoder_source(slowly())))

    def test_nothing_to_send_ends_at_once(self):
        self.assertEqual(self.run_source(djscc.encoder_source([])).data(), [])

    def test_error_of_the_encoder_ends_the_flowgraph_after_what_came_before(self):
        frames = random_frames(2)

        def broken():
            yield from frames
            raise RuntimeError("the encoder broke")

        source, sink, flowgraph = djscc.encoder_source(broken()), blocks.vector_sink_c(), gr.top_block()
        flowgraph.connect(source, sink)
        with self.assertRaisesRegex(RuntimeError, "the encoder broke"):
            djscc.run_to_end(flowgraph, [source], 20)
        self.check(frames, sink)

    def test_frames_are_told_of_as_they_begin(self):
        frames, made, begun = random_frames(6, tiles=64, layers=32), [], []

        def ahead():
            for frame in frames:
                made.append(frame[0])
                yield frame

        source = djscc.encoder_source(ahead(), queue_frames=3, on_frame=begun.append)
        flowgraph, head, sink = gr.top_block(), blocks.head(gr.sizeof_gr_complex, 1000), blocks.null_sink(8)
        flowgraph.connect(source, head, sink)
        djscc.run_to_end(flowgraph, [source], 20)
        self.assertEqual(begun, [frames[0][0]])
        self.assertGreater(len(made), 1)

    def test_repeat_numbers_frames_on(self):
        frames = random_frames(2)
        source, sink = djscc.encoder_source(frames, repeat=True), blocks.vector_sink_c()
        head = blocks.head(gr.sizeof_gr_complex, 5 * frames[0][0].payload_symbols)
        flowgraph = gr.top_block()
        flowgraph.connect(source, head, sink)
        djscc.run_to_end(flowgraph, [source], 20)
        headers = [read_header(value) for _, value in tags_of(sink, FRAME)]
        self.assertEqual([header.frame_number for header in headers], [0, 1, 2, 3, 4])
        self.assertEqual([header.tile_index for header in headers], [0, 2, 0, 2, 0])
        self.assertEqual(tags_of(sink, END), [])

    def test_stop_in_the_middle(self):
        source = djscc.encoder_source(random_frames(2), repeat=True)
        flowgraph = gr.top_block()
        flowgraph.connect(source, blocks.null_sink(gr.sizeof_gr_complex))
        flowgraph.start()
        time.sleep(0.2)
        start = time.monotonic()
        flowgraph.stop()
        flowgraph.wait()
        self.assertLess(time.monotonic() - start, 2)
        self.assertIsNone(source.error)

    def test_image_of_each_frame(self):
        frames = random_frames(2)
        tiles = np.arange(4 * 64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(4, 64, 64, 3)
        source, messages = djscc.encoder_source(frames, tiles=tiles), MessageCollector()
        flowgraph = gr.top_block()
        flowgraph.connect(source, blocks.null_sink(gr.sizeof_gr_complex))
        flowgraph.msg_connect(source, "image", messages, "in")
        djscc.run_to_end(flowgraph, [source], 20)
        self.assertEqual(len(messages.messages), 2)
        about, shown = read_image_message(messages.messages[1])
        self.assertEqual((about["tile_index"], about["frame_number"]), (2, 1))
        np.testing.assert_array_equal(shown, tiles[2:])

    def test_plain_values(self):
        sink = self.run_source(djscc.encoder_source.make("landsat", "adaptive", 1 / 48, tiles_per_frame=32))
        headers = [read_header(value) for _, value in tags_of(sink, FRAME)]
        self.assertEqual([header.tile_count for header in headers], [32, 32])
        self.assertEqual(len(sink.data()), 64 * 64 * 64 * 3 // 48)
        self.assertAlmostEqual(np.mean(np.abs(sink.data()) ** 2), 1, places=3)

    def test_wrong_values_are_refused_before_anything_runs(self):
        for values in ({"data": "no/such/folder"}, {"codec": "no-such-codec"}, {"ratio": "2"}, {"ratio": "x"}):
            with self.subTest(**values), self.assertRaises(ValueError):
                djscc.encoder_source.make(**values)


if __name__ == "__main__":
    gr_unittest.run(qa_encoder_source)
