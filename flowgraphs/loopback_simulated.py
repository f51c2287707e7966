#!/usr/bin/env python3
# -*- coding: utf-8 -*-

#
# SPDX-License-Identifier: GPL-3.0
#
# GNU Radio Python Flow Graph
# Title: DJSCC loopback over a simulated satellite channel
# Author: The gr-djscc authors
# Copyright: GPL-3.0-or-later
# Description: Images through encoder source, frame modulator, channel, frame receiver, decoder sink. No radio needed.
# GNU Radio version: 3.10.5.1

from packaging.version import Version as StrictVersion

if __name__ == '__main__':
    import ctypes
    import sys
    if sys.platform.startswith('linux'):
        try:
            x11 = ctypes.cdll.LoadLibrary('libX11.so')
            x11.XInitThreads()
        except:
            print("Warning: failed to XInitThreads()")

from PyQt5 import Qt
from gnuradio import qtgui
from gnuradio.filter import firdes
import sip
from gnuradio import blocks
from gnuradio import djscc
from gnuradio import gr
from gnuradio.fft import window
import sys
import signal
from argparse import ArgumentParser
from gnuradio.eng_arg import eng_float, intx
from gnuradio import eng_notation
from gnuradio.qtgui import Range, RangeWidget
from PyQt5 import QtCore


def snipfcn_window_size(self):
    if self.settings.value('geometry') is None:
        self.resize(1280, 860)


def snippets_main_after_init(tb):
    snipfcn_window_size(tb)

from gnuradio import qtgui

class loopback_simulated(gr.top_block, Qt.QWidget):

    def __init__(self):
        gr.top_block.__init__(self, "DJSCC loopback over a simulated satellite channel", catch_exceptions=True)
        Qt.QWidget.__init__(self)
        self.setWindowTitle("DJSCC loopback over a simulated satellite channel")
        qtgui.util.check_set_qss()
        try:
            self.setWindowIcon(Qt.QIcon.fromTheme('gnuradio-grc'))
        except:
            pass
        self.top_scroll_layout = Qt.QVBoxLayout()
        self.setLayout(self.top_scroll_layout)
        self.top_scroll = Qt.QScrollArea()
        self.top_scroll.setFrameStyle(Qt.QFrame.NoFrame)
        self.top_scroll_layout.addWidget(self.top_scroll)
        self.top_scroll.setWidgetResizable(True)
        self.top_widget = Qt.QWidget()
        self.top_scroll.setWidget(self.top_widget)
        self.top_layout = Qt.QVBoxLayout(self.top_widget)
        self.top_grid_layout = Qt.QGridLayout()
        self.top_layout.addLayout(self.top_grid_layout)

        self.settings = Qt.QSettings("GNU Radio", "loopback_simulated")

        try:
            if StrictVersion(Qt.qVersion()) < StrictVersion("5.0.0"):
                self.restoreGeometry(self.settings.value("geometry").toByteArray())
            else:
                self.restoreGeometry(self.settings.value("geometry"))
        except:
            pass

        ##################################################
        # Variables
        ##################################################
        self.symbol_rate = symbol_rate = 250e3
        self.snr_db = snr_db = 10
        self.samples_per_symbol = samples_per_symbol = 2
        self.ratio = ratio = '1/12'
        self.data = data = 'landsat'
        self.cfo_hz = cfo_hz = 3000

        ##################################################
        # Blocks
        ##################################################

        self._snr_db_range = Range(-10, 30, 0.5, 10, 200)
        self._snr_db_win = RangeWidget(self._snr_db_range, self.set_snr_db, "Es/N0 (dB)", "counter_slider", float, QtCore.Qt.Horizontal)
        self.top_grid_layout.addWidget(self._snr_db_win, 0, 0, 1, 2)
        for r in range(0, 1):
            self.top_grid_layout.setRowStretch(r, 1)
        for c in range(0, 2):
            self.top_grid_layout.setColumnStretch(c, 1)
        self._cfo_hz_range = Range(-15000, 15000, 100, 3000, 200)
        self._cfo_hz_win = RangeWidget(self._cfo_hz_range, self.set_cfo_hz, "Carrier offset (Hz)", "counter_slider", float, QtCore.Qt.Horizontal)
        self.top_grid_layout.addWidget(self._cfo_hz_win, 0, 2, 1, 2)
        for r in range(0, 1):
            self.top_grid_layout.setRowStretch(r, 1)
        for c in range(2, 4):
            self.top_grid_layout.setColumnStretch(c, 1)
        self.throttle = blocks.throttle(gr.sizeof_gr_complex*1, (symbol_rate * samples_per_symbol),True)
        self.spectrum = qtgui.freq_sink_c(
            1024, #size
            window.WIN_BLACKMAN_hARRIS, #wintype
            0, #fc
            (symbol_rate * samples_per_symbol), #bw
            "Received samples", #name
            1,
            None # parent
        )
        self.spectrum.set_update_time(0.10)
        self.spectrum.set_y_axis((-100), (-20))
        self.spectrum.set_y_label('Relative Gain', 'dB')
        self.spectrum.set_trigger_mode(qtgui.TRIG_MODE_FREE, 0.0, 0, "")
        self.spectrum.enable_autoscale(False)
        self.spectrum.enable_grid(True)
        self.spectrum.set_fft_average(0.1)
        self.spectrum.enable_axis_labels(True)
        self.spectrum.enable_control_panel(False)
        self.spectrum.set_fft_window_normalized(False)

        self.spectrum.disable_legend()


        labels = ['', '', '', '', '',
            '', '', '', '', '']
        widths = [1, 1, 1, 1, 1,
            1, 1, 1, 1, 1]
        colors = ["blue", "red", "green", "black", "cyan",
            "magenta", "yellow", "dark red", "dark green", "dark blue"]
        alphas = [1.0, 1.0, 1.0, 1.0, 1.0,
            1.0, 1.0, 1.0, 1.0, 1.0]

        for i in range(1):
            if len(labels[i]) == 0:
                self.spectrum.set_line_label(i, "Data {0}".format(i))
            else:
                self.spectrum.set_line_label(i, labels[i])
            self.spectrum.set_line_width(i, widths[i])
            self.spectrum.set_line_color(i, colors[i])
            self.spectrum.set_line_alpha(i, alphas[i])

        self._spectrum_win = sip.wrapinstance(self.spectrum.qwidget(), Qt.QWidget)
        self.top_grid_layout.addWidget(self._spectrum_win, 7, 2, 4, 2)
        for r in range(7, 11):
            self.top_grid_layout.setRowStretch(r, 1)
        for c in range(2, 4):
            self.top_grid_layout.setColumnStretch(c, 1)
        self.sent_image = djscc.image_view('Sent')
        self._sent_image_win = self.sent_image.widget
        self.top_grid_layout.addWidget(self._sent_image_win, 1, 0, 6, 2)
        for r in range(1, 7):
            self.top_grid_layout.setRowStretch(r, 1)
        for c in range(0, 2):
            self.top_grid_layout.setColumnStretch(c, 1)
        self.received_image = djscc.image_view('Received')
        self._received_image_win = self.received_image.widget
        self.top_grid_layout.addWidget(self._received_image_win, 1, 2, 6, 2)
        for r in range(1, 7):
            self.top_grid_layout.setRowStretch(r, 1)
        for c in range(2, 4):
            self.top_grid_layout.setColumnStretch(c, 1)
        self.metrics_publisher = djscc.metrics_publisher('tcp://127.0.0.1:5557', 'djscc')
        self.frame_receiver = djscc.frame_receiver.make(symbol_rate, samples_per_symbol, 0.25)
        self.frame_modulator = djscc.frame_modulator.make(symbol_rate, samples_per_symbol, 0.25)
        self.encoder_source = djscc.encoder_source.make(
            data=data,
            codec='adaptive',
            ratio=ratio,
            told_snr_db=None,
            tiles_per_frame=8,
            repeat=True)
        self.decoder_sink = djscc.decoder_sink.make(
            references=data,
            run='',
            decoder='',
            metrics=('mse', 'psnr_db', 'ssim'),
            when_full='block',
            queue_frames=1)
        self.constellation = qtgui.const_sink_c(
            2048, #size
            "Received payload symbols", #name
            1, #number of inputs
            None # parent
        )
        self.constellation.set_update_time(0.10)
        self.constellation.set_y_axis((-3), 3)
        self.constellation.set_x_axis((-3), 3)
        self.constellation.set_trigger_mode(qtgui.TRIG_MODE_FREE, qtgui.TRIG_SLOPE_POS, 0.0, 0, "")
        self.constellation.enable_autoscale(False)
        self.constellation.enable_grid(True)
        self.constellation.enable_axis_labels(True)

        self.constellation.disable_legend()

        labels = ['', '', '', '', '',
            '', '', '', '', '']
        widths = [1, 1, 1, 1, 1,
            1, 1, 1, 1, 1]
        colors = ["blue", "red", "red", "red", "red",
            "red", "red", "red", "red", "red"]
        styles = [0, 0, 0, 0, 0,
            0, 0, 0, 0, 0]
        markers = [0, 0, 0, 0, 0,
            0, 0, 0, 0, 0]
        alphas = [0.4, 1.0, 1.0, 1.0, 1.0,
            1.0, 1.0, 1.0, 1.0, 1.0]

        for i in range(1):
            if len(labels[i]) == 0:
                self.constellation.set_line_label(i, "Data {0}".format(i))
            else:
                self.constellation.set_line_label(i, labels[i])
            self.constellation.set_line_width(i, widths[i])
            self.constellation.set_line_color(i, colors[i])
            self.constellation.set_line_style(i, styles[i])
            self.constellation.set_line_marker(i, markers[i])
            self.constellation.set_line_alpha(i, alphas[i])

        self._constellation_win = sip.wrapinstance(self.constellation.qwidget(), Qt.QWidget)
        self.top_grid_layout.addWidget(self._constellation_win, 7, 0, 4, 2)
        for r in range(7, 11):
            self.top_grid_layout.setRowStretch(r, 1)
        for c in range(0, 2):
            self.top_grid_layout.setColumnStretch(c, 1)
        self.channel = djscc.channel.make(
            'rician-k10',
            snr_db=snr_db,
            cfo_hz=cfo_hz,
            clock_ppm=5,
            delay_samples=7.3,
            seed=1,
            symbol_rate=symbol_rate,
            samples_per_symbol=samples_per_symbol)


        ##################################################
        # Connections
        ##################################################
        self.msg_connect((self.decoder_sink, 'metrics'), (self.metrics_publisher, 'in'))
        self.msg_connect((self.decoder_sink, 'image'), (self.received_image, 'in'))
        self.msg_connect((self.encoder_source, 'image'), (self.sent_image, 'in'))
        self.connect((self.channel, 0), (self.throttle, 0))
        self.connect((self.encoder_source, 0), (self.frame_modulator, 0))
        self.connect((self.frame_modulator, 0), (self.channel, 0))
        self.connect((self.frame_receiver, 0), (self.constellation, 0))
        self.connect((self.frame_receiver, 1), (self.decoder_sink, 1))
        self.connect((self.frame_receiver, 0), (self.decoder_sink, 0))
        self.connect((self.throttle, 0), (self.frame_receiver, 0))
        self.connect((self.throttle, 0), (self.spectrum, 0))


    def closeEvent(self, event):
        self.settings = Qt.QSettings("GNU Radio", "loopback_simulated")
        self.settings.setValue("geometry", self.saveGeometry())
        self.stop()
        self.wait()

        event.accept()

    def get_symbol_rate(self):
        return self.symbol_rate

    def set_symbol_rate(self, symbol_rate):
        self.symbol_rate = symbol_rate
        self.spectrum.set_frequency_range(0, (self.symbol_rate * self.samples_per_symbol))
        self.throttle.set_sample_rate((self.symbol_rate * self.samples_per_symbol))

    def get_snr_db(self):
        return self.snr_db

    def set_snr_db(self, snr_db):
        self.snr_db = snr_db
        self.channel.set_snr_db(self.snr_db)

    def get_samples_per_symbol(self):
        return self.samples_per_symbol

    def set_samples_per_symbol(self, samples_per_symbol):
        self.samples_per_symbol = samples_per_symbol
        self.spectrum.set_frequency_range(0, (self.symbol_rate * self.samples_per_symbol))
        self.throttle.set_sample_rate((self.symbol_rate * self.samples_per_symbol))

    def get_ratio(self):
        return self.ratio

    def set_ratio(self, ratio):
        self.ratio = ratio

    def get_data(self):
        return self.data

    def set_data(self, data):
        self.data = data

    def get_cfo_hz(self):
        return self.cfo_hz

    def set_cfo_hz(self, cfo_hz):
        self.cfo_hz = cfo_hz
        self.channel.set_cfo_hz(self.cfo_hz)




def main(top_block_cls=loopback_simulated, options=None):

    if StrictVersion("4.5.0") <= StrictVersion(Qt.qVersion()) < StrictVersion("5.0.0"):
        style = gr.prefs().get_string('qtgui', 'style', 'raster')
        Qt.QApplication.setGraphicsSystem(style)
    qapp = Qt.QApplication(sys.argv)

    tb = top_block_cls()
    snippets_main_after_init(tb)
    tb.start()

    tb.show()

    def sig_handler(sig=None, frame=None):
        tb.stop()
        tb.wait()

        Qt.QApplication.quit()

    signal.signal(signal.SIGINT, sig_handler)
    signal.signal(signal.SIGTERM, sig_handler)

    timer = Qt.QTimer()
    timer.start(500)
    timer.timeout.connect(lambda: None)

    qapp.exec_()

if __name__ == '__main__':
    main()
