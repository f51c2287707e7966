# SPDX-License-Identifier: GPL-3.0-or-later
"""Qt widget: the image that is being sent or received, with what was measured of its last frame."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pmt
from gnuradio import gr
from numpy.typing import NDArray
from PyQt5 import QtCore, QtGui, QtWidgets

from djscc.imagery import as_shown

from .frame_record import in_a_line
from .guard import guarded
from .image_message import read_image_message

IN = pmt.intern("in")
EMPTY = 128  # grey level where nothing has come yet


class image_view(gr.basic_block):
    """Shows the tiles that come as messages, each in its place, and the values that come with them in a line below.

    Takes what encoder_source and decoder_sink send on their port ``image``. Put ``widget`` into the window's layout.

    Args:
        label: heading over the image.
    """

    def __init__(self, label: str = "") -> None:
        gr.basic_block.__init__(self, "image_view", None, None)
        self.error: Exception | None = None
        self._mosaic = Mosaic()
        self.widget = ImageWidget(label)
        self.message_port_register_in(IN)
        self.set_msg_handler(IN, self.show)

    @guarded
    def show(self, message: Any) -> None:
        """Add one message's tiles to the image."""
        about, tiles = read_image_message(message)
        self._mosaic.add(about, tiles)
        self.widget.changed.emit(self._mosaic.pixels.copy(), in_a_line(about["frame_number"], about))


class Mosaic:
    """Tiles in their places: those of the image that they were cut from, or rows of as many as there are rows."""

    def __init__(self) -> None:
        self.pixels = np.full((1, 1, 3), EMPTY, np.uint8)
        self._layout: tuple[int, ...] = ()

    def add(self, about: dict[str, Any], tiles: NDArray[np.uint8]) -> None:
        """Put in tiles (N, H, W, C); ``about`` is the description that came with them."""
        height, width, _ = tiles.shape[1:]
        columns = math.ceil(about["image_width"] / width) or math.ceil(math.sqrt(about["tiles_total"]))
        rows = math.ceil(about["tiles_total"] / columns)
        layout = (rows * height, columns * width)
        if layout != self._layout:
            self._layout = layout
            self.pixels = np.full((*layout, 3), EMPTY, np.uint8)
        shown = as_shown(tiles)
        for index, tile in enumerate(shown, about["tile_index"]):
            y, x = index // columns * height, index % columns * width
            self.pixels[y : y + height, x : x + width] = tile


class ImageWidget(QtWidgets.QWidget):
    """An image as large as there is room, its heading and a line below it. ``changed`` may be emitted from any thread."""

    changed = QtCore.pyqtSignal(object, str)

    def __init__(self, label: str) -> None:
        super().__init__()
        self._heading, self._picture, self._line = (QtWidgets.QLabel() for _ in range(3))
        self._heading.setText(label)
        self._heading.setVisible(bool(label))
        self._picture.setMinimumSize(256, 256)
        self._picture.setSizePolicy(QtWidgets.QSizePolicy.Ignored, QtWidgets.QSizePolicy.Ignored)
        layout = QtWidgets.QVBoxLayout(self)
        for part, stretch in ((self._heading, 0), (self._picture, 1), (self._line, 0)):
            part.setAlignment(QtCore.Qt.AlignCenter)
            layout.addWidget(part, stretch)
        self._pixmap = QtGui.QPixmap()
        self.changed.connect(self._show)

    def _show(self, pixels: NDArray[np.uint8], line: str) -> None:
        height, width = pixels.shape[:2]
        image = QtGui.QImage(pixels.tobytes(), width, height, 3 * width, QtGui.QImage.Format_RGB888)
        self._pixmap = QtGui.QPixmap.fromImage(image)
        self._line.setText(line)
        self._fit()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if not self._pixmap.isNull():
            size = self._picture.size()
            self._picture.setPixmap(
                self._pixmap.scaled(size, QtCore.Qt.KeepAspectRatio, QtCore.Qt.SmoothTransformation)
            )
