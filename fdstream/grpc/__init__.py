"""The baseline: the same cores, codecs and sums over gRPC streams to one server, to compare Kafka with.

The server's process holds the log in memory, and its clients follow and append to it over one bidirectional stream
each. What it cannot do follows from that: no replay, no second server, no going on after the server has died.
"""

from __future__ import annotations

import os

# Before grpc is imported anywhere: what matters of its C library's lines on stderr comes as an error, too.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
