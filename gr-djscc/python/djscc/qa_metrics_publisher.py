# SPDX-License-Identifier: GPL-3.0-or-later
"""metrics_publisher: what a subscriber gets."""

import json
import tempfile
import time

import pmt
import zmq
from gnuradio import blocks, djscc, gr, gr_unittest

from djscc.links import make_keys


class qa_metrics_publisher(gr_unittest.TestCase):
    def setUp(self):
        self.publisher = djscc.metrics_publisher("tcp://127.0.0.1:*", "test")
        self.subscriber = zmq.Context.instance().socket(zmq.SUB)
        self.subscriber.setsockopt(zmq.SUBSCRIBE, b"test")
        self.subscriber.setsockopt(zmq.RCVTIMEO, 5000)
        self.subscriber.connect(self.publisher.address)
        time.sleep(0.2)  # a subscription takes its time

    def tearDown(self):
        self.subscriber.close()
        self.publisher._publisher.close()  # an open one, collected in whatever thread, holds that thread up

    def published(self, message):
        strobe, flowgraph = blocks.message_strobe(message, 50), gr.top_block()
        flowgraph.msg_connect(strobe, "strobe", self.publisher, "in")
        flowgraph.start()
        topic, text = self.subscriber.recv_multipart()
        flowgraph.stop()
        flowgraph.wait()
        self.assertIsNone(self.publisher.error)
        self.assertEqual(topic, b"test")
        message = json.loads(text)
        self.assertEqual(message.pop("session"), self.publisher._publisher.session)
        self.assertGreaterEqual(message.pop("sequence"), 0)
        return message

    def test_pdu_of_json(self):
        record = {"frame_number": 3, "tiles": [{"psnr_db": 31.5}], "name": "Äcker"}
        text = json.dumps(record, ensure_ascii=False).encode()
        self.assertEqual(
            self.published(pmt.cons(pmt.make_dict(), pmt.init_u8vector(len(text), list(text)))),
            {"kind": "frame"} | record,
        )

    def test_dict(self):
        info = {"header": {"layers": [16, 16]}, "report": {"snr_db": 9.5}}
        self.assertEqual(self.published(pmt.to_pmt(info)), {"kind": "info"} | info)

    def test_address_in_use(self):
        with self.assertRaisesRegex(ValueError, "choose another"):
            djscc.metrics_publisher(self.publisher.address)

    def test_beyond_this_machine_needs_keys(self):
        with self.assertRaisesRegex(ValueError, "--keys"):
            djscc.metrics_publisher("tcp://0.0.0.0:*")
        with tempfile.TemporaryDirectory() as folder:
            make_keys([f"{folder}/ground", f"{folder}/flight"])
            djscc.metrics_publisher("tcp://0.0.0.0:*", keys=f"{folder}/ground")._publisher.close()


if __name__ == "__main__":
    gr_unittest.run(qa_metrics_publisher)
