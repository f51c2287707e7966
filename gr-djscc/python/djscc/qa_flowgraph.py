# SPDX-License-Identifier: GPL-3.0-or-later
"""run_to_end: errors come to the caller, and a flowgraph that stands still is given up."""

import time

import numpy as np
import pmt
from gnuradio import blocks, djscc, gr, gr_unittest
from gnuradio.djscc.guard import guarded


class Idle(gr.sync_block):
    """A source that never gives anything."""

    def __init__(self):
        gr.sync_block.__init__(self, "idle", None, [np.complex64])
        self.error = None

    def work(self, input_items, output_items):
        time.sleep(0.02)
        return 0


class Breaking(gr.basic_block):
    """A message block that breaks at its first message."""

    def __init__(self):
        gr.basic_block.__init__(self, "breaking", None, None)
        self.error = None
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.handle)

    @guarded
    def handle(self, message):
        raise RuntimeError("the handler broke")


class qa_flowgraph(gr_unittest.TestCase):
    def test_stall(self):
        flowgraph, idle, sink = gr.top_block(), Idle(), blocks.null_sink(gr.sizeof_gr_complex)
        flowgraph.connect(idle, sink)
        start = time.monotonic()
        with self.assertRaisesRegex(djscc.FlowgraphStalledError, "idle 0/0"):
            djscc.run_to_end(flowgraph, [idle], 0.5)
        self.assertLess(time.monotonic() - start, 5)

    def test_error_of_a_message_block_ends_all(self):
        flowgraph, idle, breaking = gr.top_block(), Idle(), Breaking()
        strobe = blocks.message_strobe(pmt.PMT_T, 50)
        flowgraph.connect(idle, blocks.null_sink(gr.sizeof_gr_complex))
        flowgraph.msg_connect(strobe, "strobe", breaking, "in")
        with self.assertRaisesRegex(RuntimeError, "the handler broke") as raised:
            djscc.run_to_end(flowgraph, [idle, breaking], 20)
        self.assertEqual(raised.exception.__notes__, ["in the flowgraph's block breaking"])


if __name__ == "__main__":
    gr_unittest.run(qa_flowgraph)
