"""Kafka against gRPC, measured by one command: `fdstream stress` under the name by which evaluations are called.

python evaluations/stress_test.py --clients 100 --rounds 5 --model-size 1MB --channels kafka,grpc
"""

from __future__ import annotations

import sys

from fdstream.cli import main

if __name__ == "__main__":
    main(["stress", *sys.argv[1:]])
