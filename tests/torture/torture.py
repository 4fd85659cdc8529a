"""Tries to break an archive for as long as you like.

    python -m tests.torture.torture --seconds 600 [--only killed_workers] [--seed 7]

Prints one line a scenario and exits 1 when anything was lost, doubled or misnamed. `make test` runs every
scenario once.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.scenarios import SCENARIOS


def main() -> int:
    """Run the scenarios in turn; the time is shared among those that can use it."""
    parser = argparse.ArgumentParser(description="Tries to break an archive.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, in all")
    parser.add_argument("--only", choices=sorted(SCENARIOS), action="append", help="these scenarios only")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(2**32), help="to repeat a run"
    )
    given = parser.parse_args()
    chosen = {name: SCENARIOS[name] for name in given.only or SCENARIOS}
    print(f"seed {given.seed}", flush=True)
    failed = 0
    for number, (name, scenario) in enumerate(chosen.items()):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            outcome = scenario(Path(folder), random.Random(given.seed + number), given.seconds / len(chosen))
        took = time.monotonic() - began
        print(f"{name:17} {outcome.rounds:5} rounds {took:7.1f} s  {'; '.join(outcome.notes)}", flush=True)
        for words in outcome.broken:
            failed += 1
            print(f"  BROKEN: {words}", flush=True)
    print("nothing lost, nothing doubled" if not failed else f"{failed} broken promises")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
