"""Standing adversaries for as long as there is time: random networks, folded constants, forged runs, hostile databases.

    python benchmarks/fuzz.py --minutes 10                        # every adversary in turn, seeds that nobody tried
    python benchmarks/fuzz.py --minutes 1 --only graphs --seed 7  # one of them, from a seed on

Ends with 1 if anything broke, after a line for each find: the adversary, the seed that repeats it, and what is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import secrets
import sys
import time
import traceback
from collections import Counter

from adversary import ADVERSARIES


def main() -> int:
    """Try until the time is over, and say what was tried and what broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--only", choices=sorted(ADVERSARIES), action="append", help="this adversary, may be repeated")
    parser.add_argument("--seed", type=int, help="the first seed, to repeat a find; otherwise a random one")
    arguments = parser.parse_args()
    first = secrets.randbelow(2**40) if arguments.seed is None else arguments.seed
    end, tried, broken = time.monotonic() + 60 * arguments.minutes, Counter[str](), Counter[str]()
    print(f"seeds from {first} on", flush=True)
    for seed in itertools.count(first):
        for name in arguments.only or ADVERSARIES:
            if time.monotonic() > end:
                summary = (f"{name} {tried[name]} tried, {broken[name]} broke" for name in tried)
                print("; ".join(summary) or "no time for a single attempt")
                return int(broken.total() > 0)
            try:
                found = ADVERSARIES[name](seed)
            except Exception as problem:  # a crash is a find like any other
                traceback.print_exc()
                found = f"it crashed: {problem!r}"
            tried[name] += 1
            if found:
                broken[name] += 1
                print(f"{name} --seed {seed}: {found}", flush=True)
    raise AssertionError("seeds do not end")


if __name__ == "__main__":
    sys.exit(main())
