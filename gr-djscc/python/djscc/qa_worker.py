# SPDX-License-Identifier: GPL-3.0-or-later
"""Producer and Consumer: order, bounds, errors, prompt ends."""

import threading
import time

from gnuradio import gr_unittest
from gnuradio.djscc.worker import Consumer, Producer


def taken(producer):
    items = []
    while not producer.exhausted:
        item = producer.take()
        if item is not None:
            items.append(item)
    return items


class qa_worker(gr_unittest.TestCase):
    def test_producer_gives_all_in_order(self):
        producer = Producer(lambda: iter(range(100)), 3)
        producer.start()
        self.assertEqual(taken(producer), list(range(100)))
        producer.stop()

    def test_producer_is_never_more_than_its_queue_ahead(self):
        made = []
        producer = Producer(lambda: (made.append(i) or i for i in range(50)), 3)
        producer.start()
        time.sleep(0.1)
        self.assertLessEqual(len(made), 4)  # three in the queue, one at its door
        producer.take()
        time.sleep(0.1)
        self.assertLessEqual(len(made), 5)
        producer.stop()

    def test_producer_raises_what_the_iterator_raised_after_the_items_before_it(self):
        def items():
            yield 1
            raise OSError("no such image")

        producer = Producer(items, 3)
        producer.start()
        time.sleep(0.05)
        self.assertEqual(producer.take(), 1)
        with self.assertRaisesRegex(OSError, "no such image"):
            producer.take()
        producer.stop()

    def test_take_does_not_wait_long(self):
        release = threading.Event()
        producer = Producer(lambda: (release.wait() for _ in range(1)), 1)
        producer.start()
        start = time.monotonic()
        self.assertIsNone(producer.take())
        self.assertLess(time.monotonic() - start, 0.5)
        self.assertFalse(producer.exhausted)
        release.set()
        producer.stop()

    def test_producer_begins_again_when_started_again(self):
        producer = Producer(lambda: iter(range(5)), 2)
        for _ in range(2):
            producer.start()
            self.assertEqual(taken(producer), list(range(5)))
            producer.stop()

    def test_consumer_takes_all_in_order(self):
        got = []
        consumer = Consumer(got.append, 4)
        consumer.start()
        for i in range(100):
            while not consumer.offer(i, wait=True):
                pass
        self.assertTrue(consumer.wait_idle(5))
        self.assertEqual(got, list(range(100)))
        consumer.stop()

    def test_consumer_refuses_when_full(self):
        release = threading.Event()
        consumer = Consumer(lambda _: release.wait(), 2)
        consumer.start()
        accepted = [consumer.offer(i, wait=True) for i in range(5)]
        self.assertEqual(accepted, [True, True, True, False, False])  # one in work, two in the queue
        self.assertFalse(consumer.wait_idle(0))
        release.set()
        self.assertTrue(consumer.wait_idle(5))
        consumer.stop()

    def test_consumer_may_be_bounded_by_what_its_items_weigh(self):
        release, working = threading.Event(), threading.Event()
        consumer = Consumer(lambda _: (working.set(), release.wait()), 10, weigh=lambda item: item)
        consumer.start()
        self.assertTrue(consumer.offer(50, wait=False))
        self.assertTrue(working.wait(5))  # what is being worked on waits no more
        accepted = [consumer.offer(weight, wait=False) for weight in (4, 7, 6, 1)]
        self.assertEqual(accepted, [True, False, True, False])
        release.set()
        self.assertTrue(consumer.wait_idle(5))
        consumer.stop()

    def test_consumer_raises_what_accept_raised(self):
        consumer = Consumer(lambda item: 1 / item, 2)
        consumer.start()
        consumer.offer(0, wait=False)
        with self.assertRaises(ZeroDivisionError):
            consumer.wait_idle(5)
        with self.assertRaises(ZeroDivisionError):
            consumer.offer(1, wait=False)
        consumer.stop()

    def test_a_queue_needs_room(self):
        with self.assertRaisesRegex(ValueError, "queue of 0"):
            Consumer(print, 0)


if __name__ == "__main__":
    gr_unittest.run(qa_worker)
