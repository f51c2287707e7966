# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m djscc.cli`` is ``djscc``."""

import sys

from djscc.cli import main

sys.exit(main())
