"""Damaged and wrong inputs over every way in, and what came of them.

python tests/fuzz/run.py [--cases 100000] [--seed 0] [--entry NAME] [--show 3]
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from entries import ENTRIES
from outcome import OUTCOMES, outcome


def fuzz(entry, cases, seed, place, first=0):
    """Counts of outcomes, and what to show of each."""
    counts, shown = Counter(), defaultdict(Counter)
    names = list(ENTRIES)
    for number in range(first, first + cases):
        rng = np.random.default_rng([seed, names.index(entry), number])
        folder = Path(tempfile.mkdtemp(dir=place))
        run, is_right = ENTRIES[entry](rng, folder)
        try:
            found, text = outcome(run, is_right)
        except Exception as error:
            # The plain way to the answer failed where the package found one.
            found, text = "wrong", f"no answer was expected: {error!r}"
        counts[found] += 1
        if found not in ("right", "sentence"):
            shown[found][f"case {number}: {text}"] += 1
        shutil.rmtree(folder)
    return counts, shown


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--entry", action="append", choices=list(ENTRIES))
    parser.add_argument("--show", type=int, default=5)
    arguments = parser.parse_args()
    entries = arguments.entry or list(ENTRIES)
    each = -(-arguments.cases // len(entries))
    print(
        f"{'way in':<16}" + "".join(f"{name:>10}" for name in OUTCOMES) + "   ms each"
    )
    bad = 0
    with tempfile.TemporaryDirectory(prefix="keras_t4r-fuzz-") as place:
        for entry in entries:
            started = time.perf_counter()
            counts, shown = fuzz(entry, each, arguments.seed, Path(place))
            each_ms = 1e3 * (time.perf_counter() - started) / each
            cells = "".join(f"{counts[name]:>10}" for name in OUTCOMES)
            print(f"{entry:<16}{cells}{each_ms:>10.1f}", flush=True)
            for name in ("panic", "wrong", "unclear"):
                bad += counts[name]
                for text, _ in list(shown[name].items())[: arguments.show]:
                    print(f"    {name}: {text}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
