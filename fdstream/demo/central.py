"""`python -m fdstream.demo.central EPOCHS`: held-out accuracy of the same network trained on all data at once."""

from __future__ import annotations

import json
import sys

from fdstream.examples import digits

if __name__ == "__main__":
    print(json.dumps({"accuracy": digits.centralised(int(sys.argv[1]))}))
