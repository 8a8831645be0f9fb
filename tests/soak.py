"""How long a soak lasts, and by which seed: `make soak MINUTES=30 SEED=1`.

A soak is what gets better with time: chaos, fuzzing by the clock, checks at a benchmark's full
size. Its tests are marked `soak` and no part of `make test`, which has a short form of each that
is the same every time.
"""

import os
import random

MINUTES = float(os.environ.get("SOAK_MINUTES") or 30)
SEED = int(os.environ.get("SOAK_SEED") or random.randrange(1_000_000))
