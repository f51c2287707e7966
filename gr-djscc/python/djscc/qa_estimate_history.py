# SPDX-License-Identifier: GPL-3.0-or-later
"""estimate_history: the last values of each estimate, the newest last."""

import time

import pmt
from gnuradio import djscc, gr, gr_unittest
from gnuradio.djscc.frame_tags import to_pmt
from qa_support import MessageCollector


class qa_estimate_history(gr_unittest.TestCase):
    def run_with(self, estimates, frames):
        flowgraph, history = gr.top_block(), djscc.estimate_history(frames)
        collectors = [MessageCollector(), MessageCollector()]
        for port, collector in zip(("snr_db", "cfo_hz"), collectors, strict=True):
            flowgraph.msg_connect(history, port, collector, "in")
        flowgraph.start()
        for values in estimates:
            message = pmt.cons(to_pmt(values), pmt.init_u8vector(2, [123, 125]))
            history.to_basic_block()._post(pmt.intern("in"), message)
        deadline = time.monotonic() + 20
        while len(collectors[0].messages) < len(estimates) and time.monotonic() < deadline:
            time.sleep(0.01)
        flowgraph.stop()
        flowgraph.wait()
        self.assertIsNone(history.error)
        return [[list(pmt.f32vector_elements(pmt.cdr(m))) for m in c.messages] for c in collectors]

    def test_values_move_along(self):
        estimates = [{"frame_number": n, "snr_est_db": float(n), "cfo_hz": 10.0 * n} for n in range(1, 5)]
        snr, cfo = self.run_with(estimates, 3)
        self.assertEqual(snr, [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4]])
        self.assertEqual(cfo[-1], [20, 30, 40])

    def test_what_is_not_known_is_left_out(self):
        snr, cfo = self.run_with([{"frame_number": 1, "snr_est_db": 5.0}], 2)
        self.assertEqual(snr, [[5, 5]])
        self.assertEqual(cfo, [])

    def test_length(self):
        with self.assertRaisesRegex(ValueError, "1 frames"):
            djscc.estimate_history(1)


if __name__ == "__main__":
    gr_unittest.run(qa_estimate_history)
