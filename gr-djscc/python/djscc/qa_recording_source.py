# SPDX-License-Identifier: GPL-3.0-or-later
"""recording_source: all samples of a recording, its gaps, and a frame that it cuts off."""

import pathlib
import tempfile

import numpy as np
from gnuradio import blocks, djscc, gr, gr_unittest
from qa_support import Collector, random_frames

from djscc.radio.sigmf_files import About, Recorder
from djscc.waveform import Modulator, WaveformSettings

SETTINGS = WaveformSettings(5e5, 2)


class qa_recording_source(gr_unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def receive(self, recording):
        """What a frame receiver gets out of a recording."""
        source = djscc.recording_source.make(str(recording))
        receiver, taker = djscc.frame_receiver(SETTINGS), Collector()
        sink, flowgraph = djscc.decoder_sink(taker), gr.top_block()
        flowgraph.connect(source, receiver)
        for port in (0, 1):
            flowgraph.connect((receiver, port), (sink, port))
        djscc.run_to_end(flowgraph, [source, receiver, sink], 30)
        return taker.frames

    def test_a_frame_that_is_cut_off_is_received_as_far_as_it_goes(self):
        modulator = Modulator(SETTINGS)
        first, second = (modulator.modulate(*frame) for frame in random_frames(2, tiles=8, layers=8))
        path = self.folder / "a.cf32"
        np.concatenate([first, second[: int(0.8 * len(second))]]).astype("<c8").tofile(path)
        frames = self.receive(path)
        self.assertEqual([frame.header.frame_number for frame in frames], [0, 1])
        erased = [1 - frame.received.mean() for frame in frames]
        self.assertEqual(erased[0], 0)
        self.assertTrue(0.1 < erased[1] < 0.4, erased)

    def test_gaps_of_a_sigmf_recording_keep_what_follows_in_its_place(self):
        modulator = Modulator(SETTINGS)
        first, second = (modulator.modulate(*frame) for frame in random_frames(2, tiles=8, layers=8))
        air, place = np.concatenate([first, second, modulator.guard()]), len(first) + len(second) // 2
        recorder = Recorder(self.folder / "b", About(SETTINGS))
        recorder.write(air[:place])
        recorder.gap(700)
        recorder.write(air[place + 700 :])
        recorder.close()
        for name in ("b.sigmf-data", "b.sigmf-meta"):
            frames = self.receive(self.folder / name)
            self.assertEqual([frame.header.frame_number for frame in frames], [0, 1])
            self.assertEqual([frame.report.lost_samples for frame in frames], [0, 700])

    def test_repeat_goes_on_with_the_first_sample(self):
        np.arange(1000, dtype="<c8").tofile(self.folder / "c")
        source, head, sink = (
            djscc.recording_source.make(str(self.folder / "c"), True),
            blocks.head(8, 2500),
            blocks.vector_sink_c(),
        )
        flowgraph = gr.top_block()
        flowgraph.connect(source, head, sink)
        flowgraph.run()
        np.testing.assert_array_equal(np.real(sink.data()), np.arange(2500) % 1000)

    def test_what_cannot_be_read_is_said(self):
        with self.assertRaisesRegex(Exception, "cannot be read"):
            djscc.recording_source.make(str(self.folder / "nowhere"))
        with self.assertRaisesRegex(Exception, "nowhere.sigmf-meta is not there"):
            djscc.recording_source.make(str(self.folder / "nowhere.sigmf-data"))
        (self.folder / "torn").write_bytes(np.ones(100, "<c8").tobytes() + b"xyz")
        source, sink, flowgraph = (
            djscc.recording_source.make(str(self.folder / "torn")),
            blocks.vector_sink_c(),
            gr.top_block(),
        )
        flowgraph.connect(source, sink)
        with self.assertRaisesRegex(Exception, "ends within a sample"):
            djscc.run_to_end(flowgraph, [source], 20)
        self.assertEqual(len(sink.data()), 100)


if __name__ == "__main__":
    gr_unittest.run(qa_recording_source)
