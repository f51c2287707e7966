# SPDX-License-Identifier: GPL-3.0-or-later
"""The DJSCC codec: neural encoder from tiles to complex channel symbols, neural decoder back, and their weights."""

from djscc.codec.codec import Codec
from djscc.codec.weights import CodecError, available_codecs, load_codec, load_codec_by_id

__all__ = ["Codec", "CodecError", "available_codecs", "load_codec", "load_codec_by_id"]
