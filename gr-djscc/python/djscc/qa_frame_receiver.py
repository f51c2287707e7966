# SPDX-License-Identifier: GPL-3.0-or-later
"""frame_receiver: the frames of the library's Receiver, with their tags, noise variance and messages."""

import numpy as np
import pmt
from gnuradio import blocks, djscc, gr, gr_unittest
from gnuradio.djscc.frame_tags import END, FRAME, read_header, read_report
from qa_support import REPORT, MessageCollector, TaggedSource, random_frames, tags_of

from djscc.waveform import Modulator, ReceivedFrame, Receiver


def stream(frames, noise=0.02, lead=3000):
    """Samples of frames after ``lead`` samples of silence, with noise over all."""
    modulator, generator = Modulator(), np.random.default_rng(2)
    samples = np.concatenate(
        [np.zeros(lead, np.complex64), *(modulator.modulate(*f) for f in frames), modulator.guard()]
    )
    parts = generator.standard_normal((2, len(samples))) * noise
    return (samples + parts[0] + 1j * parts[1]).astype(np.complex64)


class qa_frame_receiver(gr_unittest.TestCase):
    def received(self, samples, tags=(), most_items=None, **options):
        source = TaggedSource(samples, tags)
        if most_items:
            source.set_max_noutput_items(most_items)
        receiver, symbols, variance = djscc.frame_receiver(**options), blocks.vector_sink_c(), blocks.vector_sink_f()
        messages, flowgraph = MessageCollector(), gr.top_block()
        flowgraph.connect(source, receiver, symbols)
        flowgraph.connect((receiver, 1), variance)
        flowgraph.msg_connect(receiver, "info", messages, "in")
        djscc.run_to_end(flowgraph, [receiver], 30)
        return receiver, symbols, np.array(variance.data(), np.float32), messages.messages

    def check(self, direct, symbols, variance):
        np.testing.assert_array_equal(
            np.array(symbols.data(), np.complex64), np.concatenate([frame.symbols for frame in direct])
        )
        np.testing.assert_array_equal(np.isfinite(variance), np.concatenate([frame.received for frame in direct]))
        starts = np.cumsum([0] + [len(frame.symbols) for frame in direct])[:-1]
        tags = tags_of(symbols, FRAME)
        self.assertEqual([offset for offset, _ in tags], starts.tolist())
        self.assertEqual([read_header(value) for _, value in tags], [frame.header for frame in direct])
        self.assertEqual([read_report(value) for _, value in tags], [frame.report for frame in direct])

    def test_same_as_the_library_whatever_the_buffers(self):
        frames = random_frames(3)
        samples = stream(frames)
        direct = Receiver().push(samples)
        self.assertEqual([frame.header for frame in direct], [header for header, _ in frames])
        for most_items in (997, None):
            with self.subTest(most_items=most_items):
                receiver, symbols, variance, messages = self.received(samples, most_items=most_items)
                self.check(direct, symbols, variance)
                self.assertEqual(receiver.counters.frames, 3)
                self.assertEqual(len(messages), 3)
                info = pmt.to_python(messages[2])
                self.assertEqual(info["header"], frames[2][0].to_dict())
                self.assertEqual(info["counters"]["frames"], 3)

    def test_symbols_come_back_as_they_were_sent(self):
        frames = random_frames(2)
        _, symbols, _, _ = self.received(stream(frames, noise=0.005))
        sent = np.concatenate([payload for _, payload in frames])
        error = np.mean(np.abs(np.array(symbols.data()) - sent) ** 2)
        self.assertLess(10 * np.log10(error), -20)

    def test_end_of_the_stream_flushes_a_frame_that_is_cut_off(self):
        frames = random_frames(2, tiles=8)
        samples = stream(frames)
        samples = samples[: len(samples) - len(Modulator().guard()) - 800]
        library = Receiver()
        direct = library.push(samples) + library.flush()
        receiver, symbols, variance, _ = self.received(samples, [(len(samples) - 1, END, pmt.PMT_T)])
        self.check(direct, symbols, variance)
        self.assertEqual(receiver.counters.frames, 2)
        self.assertEqual([offset for offset, _ in tags_of(symbols, END)], [len(symbols.data()) - 1])

    def test_what_was_not_received_has_infinite_noise(self):
        header, payload = random_frames(1)[0]
        received = np.arange(len(payload)) % 5 > 0
        frame = ReceivedFrame(header, payload, np.full(len(payload), 0.5, np.float32), received, REPORT)
        (piece,) = djscc.frame_receiver()._pieces([frame])
        np.testing.assert_array_equal(piece.items[1], np.where(received, 0.5, np.inf).astype(np.float32))

    def test_noise_alone(self):
        receiver, symbols, _, _ = self.received(stream([], noise=1.0, lead=200_000))
        self.assertEqual((len(symbols.data()), receiver.counters.frames), (0, 0))

    def test_a_jump_of_time_is_filled_with_erasures(self):
        """As gr-uhd tags it: the first sample, and the first after samples were lost."""
        frames = random_frames(3, tiles=16, layers=8)
        samples, lost, rate = stream(frames), 4000, 2e6
        at = len(samples) // 2
        direct = Receiver()
        expected = direct.push(samples[:at]) + direct.skip(lost) + direct.push(samples[at + lost :])

        def time_tag(place, sample):
            seconds = 7 + sample / rate
            whole = int(seconds)
            value = pmt.make_tuple(pmt.from_uint64(whole), pmt.from_double(seconds - whole))
            return place, pmt.intern("rx_time"), value

        class Tap:
            def __init__(self):
                self.count, self.gaps = 0, []

            def write(self, items):
                self.count += len(items)

            def gap(self, count):
                self.gaps.append((self.count, count))

        gaps, tap = [], Tap()
        receiver, symbols, variance, _ = self.received(
            np.delete(samples, slice(at, at + lost)),
            [time_tag(0, 0), time_tag(at, at + lost)],
            tap=tap,
            on_gap=lambda *gap: gaps.append(gap),
        )
        self.check(expected, symbols, variance)
        self.assertEqual([f.report.overruns for f in expected], [0, 1, 0])
        self.assertEqual(gaps, [(at, lost)])
        self.assertEqual((tap.count, tap.gaps), (len(samples) - lost, [(at, lost)]))
        self.assertEqual(receiver.position, len(samples))

    def test_what_is_asked_before_samples_are_taken_still_marks_their_frames(self):
        """As the flags of a Pluto are looked at."""
        frames = random_frames(3, tiles=16, layers=8)
        samples = stream(frames)
        at = len(samples) // 2

        class Looks:
            count = 0

            def __call__(self):
                self.count += 1
                if self.count == 1:
                    self.receiver.overrun(at, at + 100)

        looks = Looks()
        source, symbols, flowgraph = TaggedSource(samples), blocks.vector_sink_c(), gr.top_block()
        looks.receiver = receiver = djscc.frame_receiver(before=looks)
        flowgraph.connect(source, receiver, symbols)
        flowgraph.connect((receiver, 1), blocks.null_sink(gr.sizeof_float))
        djscc.run_to_end(flowgraph, [receiver], 30)
        self.assertEqual([read_report(v).overruns for _, v in tags_of(symbols, FRAME)], [0, 1, 0])

    def test_ends_after_so_many_frames(self):
        frames = random_frames(4)
        _, symbols, _, _ = self.received(stream(frames), frames=2)
        self.assertEqual([read_header(v).frame_number for _, v in tags_of(symbols, FRAME)], [0, 1])


if __name__ == "__main__":
    gr_unittest.run(qa_frame_receiver)
