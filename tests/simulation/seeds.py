"""How many federations the suite simulates: these, and more where FDSTREAM_TEST_SEEDS asks for more.

The suite has ten minutes on two cores for everything. A change to a rule of the protocol wants fifty times as many.
"""

from __future__ import annotations

import os

ALL = int(os.environ.get("FDSTREAM_TEST_SEEDS", "400"))
