"""Walker's alias method: draws from any distribution in constant time."""

import numpy as np


def alias_table(shares):
    """Cuts a distribution over `n` values into `n` columns of two values at most.

    A draw picks a column evenly, and keeps it with probability `kept`; else it takes
    the column's alias.

    Args:
        shares: float64 `(n,)`. Probabilities, which sum to 1.

    Returns:
        `(kept, alias)`: float64 and int32, each `(n,)`.

    References:
    - Walker, An Efficient Method for Generating Discrete Random Variables with
      General Distributions, TOMS 1977.
    - Hübschle-Schneider and Sanders, Parallel Weighted Random Sampling, TOMS 2022
      (columns filled by one sweep over sums, which arrays can do).
    """
    columns = len(shares)
    mass = shares * columns
    kept, alias = np.ones(columns), np.arange(columns, dtype=np.int32)
    light, heavy = np.flatnonzero(mass < 1), np.flatnonzero(mass >= 1)
    # Equal shares are all light, or all heavy, by rounding.
    if not len(light) or not len(heavy):
        return kept, alias
    # What light columns lack, and what heavy ones have too much, summed up. The heavy
    # ones fill the light ones one after the other.
    lacking = np.cumsum(1 - mass[light])
    over = np.cumsum(mass[heavy] - 1)
    before = np.append(0.0, lacking[:-1])
    # As many heavy ones as are used up go before; `last` counts them alike.
    giver = np.searchsorted(over, before, side="left")
    kept[light] = mass[light]
    alias[light] = heavy[np.minimum(giver, len(heavy) - 1)]
    # The heavy column that fills a light one to the brim gives more than it has too
    # much, and the next heavy one makes up for that.
    last = np.searchsorted(lacking, over, side="right")
    gives = np.flatnonzero(last < len(light))
    gives = gives[gives < len(heavy) - 1]
    kept[heavy[gives]] = np.clip(1 - (lacking[last[gives]] - over[gives]), 0, 1)
    alias[heavy[gives]] = heavy[gives + 1]
    return kept, alias
