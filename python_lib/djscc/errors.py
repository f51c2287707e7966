# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of every error that a user can mend: the command line prints its message and exits with 1, without a traceback."""


class DjsccError(ValueError):
    """Something given to the library cannot be used; the message names the value and the remedy."""
