# SPDX-License-Identifier: GPL-3.0-or-later
"""image_view: tiles in their places, in a window that is not shown."""

import unittest

import numpy as np
from gnuradio import djscc, gr_unittest
from gnuradio.djscc.guard import taken
from gnuradio.djscc.image_message import image_message
from qa_support import random_frames

try:
    from PyQt5 import QtWidgets
except ImportError:
    QtWidgets = None


@unittest.skipIf(QtWidgets is None, "PyQt5 is not installed (apt install python3-pyqt5)")
class qa_image_view(gr_unittest.TestCase):
    application = QtWidgets and QtWidgets.QApplication([])

    def show(self, view, message):
        view.show(message)
        self.application.processEvents()
        self.assertIsNone(view.error)

    def test_tiles_in_rows(self):
        view, frames = djscc.image_view("Received"), random_frames(2)  # two frames of two tiles
        tiles = np.arange(4, dtype=np.uint8).repeat(64 * 64 * 3).reshape(4, 64, 64, 3)
        for (header, _), part in zip(frames, (tiles[:2], tiles[2:]), strict=True):
            self.show(view, image_message(header, part, {"psnr_db": 31.234}))
        pixels = view._mosaic.pixels
        self.assertEqual(pixels.shape, (128, 128, 3))
        self.assertEqual([pixels[y, x, 0] for y in (0, 64) for x in (0, 64)], [0, 1, 2, 3])
        self.assertEqual(view.widget._line.text(), "frame 1, PSNR 31.23 dB")
        self.assertFalse(view.widget._picture.pixmap().isNull())

    def test_tiles_of_an_image(self):
        from dataclasses import replace

        view, (header, _) = djscc.image_view(), random_frames(1, tiles=6)[0]
        header = replace(header, image_height=100, image_width=180)
        self.show(view, image_message(header, np.full((6, 64, 64, 1), 7, np.uint8), {}))
        self.assertEqual(view._mosaic.pixels.shape, (128, 192, 3))  # one band is shown grey

    def test_what_is_no_image_is_an_error(self):
        import pmt

        view = djscc.image_view()
        view.show(pmt.intern("hello"))
        self.assertIsNotNone(view.error)
        taken(view.error)


if __name__ == "__main__":
    gr_unittest.run(qa_image_view)
