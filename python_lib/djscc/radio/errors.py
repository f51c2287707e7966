# SPDX-License-Identifier: GPL-3.0-or-later
"""The error of everything that samples go to or come from."""

from djscc.errors import DjsccError


class StreamError(DjsccError):
    """A source or sink of samples that cannot be used."""
