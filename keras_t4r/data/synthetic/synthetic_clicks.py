"""A click log with a planted structure, whose best possible ranking is known."""

import gzip

import numpy as np
import polars as pl

from keras_t4r.arguments import number, numbers, whole_number
from keras_t4r.data.synthetic.oracle import Oracle
from keras_t4r.files import as_path, new_file
from keras_t4r.files.packed import packing

_START = 1_396_310_400_000  # 1 April 2014, where YOOCHOOSE's log begins, in ms.
_DAY = 86_400_000
_FIRST_RAW_ID = 214_500_000
# Popularity of an item swings by this much, in log space, over this many days.
_SWING, _SWING_DAYS = 0.3, 30


class SyntheticClicks:
    """Clicks in YOOCHOOSE's raw format, drawn from a known distribution.

    The item after a history `h_1 … h_t` is drawn from

    `p(v | h) ∝ [v ≠ h_t] · (a·S1(v | h_t) + b·S2(v | h_{t-1}) + c·R(v) + d·P(v))`

    with S1 and S2 two successor distributions (`num_successors` items of the
    same category, geometrically less likely), R uniform over the earlier
    clicks `h_1 … h_{t-1}`, and P the popularity of the day: Zipf's law, with a
    slow swing of its own for each item. A part that the history is too short
    for counts 0. The first item is drawn from P. Nothing else (length, time,
    category) tells more about the next item, so ranking by p is the ceiling.

    The same item never stands twice in a row, so that dropping repeats changes
    nothing.

    Args:
        num_sessions: int. Sessions, spread evenly over the days.
        num_items: int. Items of the catalogue.
        num_days: int. Days, from 1 April 2014 on.
        mean_length: float. Clicks a session, before the cut at `max_length`.
        max_length: int. Most clicks of a session.
        num_categories: int. Categories; each item has one.
        num_successors: int. Items that may follow an item, in S1 and in S2.
        weights: four floats. a, b, c and d.
        seed: int. Everything follows from it.

    Raises:
        TypeError: an argument is no number, or no whole one where it should be.
        ValueError: one is out of its range, or a category has too few items.

    Example:

    ```python
    log = SyntheticClicks(seed=1)
    log.write("clicks.csv")
    etl.fit(ClickLog("clicks.csv", columns=SyntheticClicks.columns))
    best = log.oracle(etl.vocabulary("item_id").values, day=6)
    best.predict({"item_id": ids})          # (batch, items + 2) probabilities
    ```
    """

    columns = ("session_id", "timestamp", "item_id", "category")

    def __init__(
        self,
        num_sessions=30_000,
        num_items=2_000,
        num_days=6,
        mean_length=6.0,
        max_length=20,
        num_categories=12,
        num_successors=8,
        weights=(0.55, 0.15, 0.15, 0.15),
        seed=0,
    ):
        for name, value in {
            "num_sessions": num_sessions,
            "num_items": num_items,
            "num_days": num_days,
            "max_length": max_length,
            "num_categories": num_categories,
            "num_successors": num_successors,
        }.items():
            whole_number(name, value)
        mean_length = number("mean_length", mean_length, least=1)
        weights = numbers("weights", weights, 4, least=0)
        seed = whole_number("seed", seed, least=0, most=None)
        if num_items < num_categories * (num_successors + 1):
            raise ValueError(
                f"{num_items} items in {num_categories} categories leave an item "
                f"fewer than {num_successors} others of its category; take fewer "
                "categories or successors."
            )
        if weights[3] <= 0:
            raise ValueError(
                f"weights are {weights}; the last of them should be above 0, or "
                "nothing may follow some histories."
            )
        self.num_sessions, self.num_items = num_sessions, num_items
        self.num_days, self.max_length = num_days, max_length
        self.weights = tuple(float(w) for w in np.divide(weights, sum(weights)))
        self.mean_length = mean_length
        self._structure, self._draws = np.random.SeedSequence(seed).spawn(2)

        random = np.random.default_rng(self._structure)
        self.raw_ids = _FIRST_RAW_ID + random.permutation(4 * num_items)[:num_items]
        self.category = np.arange(num_items) % num_categories
        # Text, as in the real log, where S stands for special offers.
        self.category_names = np.array(["S", *map(str, range(1, num_categories))])
        self._log_popularity = -np.log(np.arange(num_items) + 10.0)
        self._phase = random.uniform(0, 2 * np.pi, num_items)
        self.successors = tuple(
            self._draw_successors(random, num_successors) for _ in range(2)
        )
        ranks = 0.6 ** np.arange(num_successors)
        self.successor_probabilities = ranks / ranks.sum()

    def popularity(self, day):
        """P, over the items, on a day (counted from 1)."""
        swing = np.sin(2 * np.pi * day / _SWING_DAYS + self._phase)
        weights = np.exp(self._log_popularity + _SWING * swing)
        return weights / weights.sum()

    def clicks(self):
        """The log as a polars frame, by session; times are ISO 8601 text."""
        random = np.random.default_rng(self._draws)
        count = self.num_sessions
        days = np.sort(random.integers(1, self.num_days + 1, count))
        lengths = random.geometric(1 / self.mean_length, count)
        lengths = np.minimum(lengths, self.max_length)
        items = self._draw_sessions(random, days, lengths)

        # Half an hour before midnight is left free, so that days stay apart.
        starts = (days - 1) * _DAY + random.integers(0, _DAY - 1_800_000, count)
        gaps = random.integers(1_000, 90_000, items.shape)
        gaps[:, 0] = 0
        times = _START + starts[:, None] + np.cumsum(gaps, axis=1)
        # Ids grow with the day, as in a real log, and say no more than that.
        sessions = np.arange(1, count + 1)
        sessions = np.broadcast_to(sessions[:, None], items.shape)

        there = np.arange(items.shape[1]) < lengths[:, None]
        items = items[there]
        return pl.DataFrame(
            {
                "session_id": sessions[there],
                "timestamp": pl.Series(times[there])
                .cast(pl.Datetime("ms"))
                .dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
                "item_id": self.raw_ids[items],
                "category": self.category_names[self.category[items]],
            }
        )

    def write(self, path):
        """Writes the log as YOOCHOOSE's file is: CSV without a header line.

        A path that ends in `.gz` is zipped.

        Raises:
            ValueError: it ends in the name of another packing.
        """
        path = as_path(path, "a log")
        zipped = packing(path) == ".gz"
        if packing(path) and not zipped:
            raise ValueError(f"{path} is to be packed, which is done by .gz only.")
        opened = gzip.open if zipped else open
        with new_file(path) as temporary, opened(temporary, "wb") as file:
            self.clicks().write_csv(file, include_header=False)

    def oracle(self, vocabulary, day):
        """The true distribution of the next item, in encoded ids.

        Args:
            vocabulary: array of raw item ids; row r is id r + 2. What
                `SessionETL.vocabulary(…).values` gives.
            day: int. Whose popularity is P; windows of one day count alike.
        """
        return Oracle(
            np.asarray(vocabulary, np.int64),
            self.raw_ids,
            self.successors,
            self.successor_probabilities,
            self.popularity(day),
            self.weights,
        )

    def _draw_successors(self, random, count):
        """Distinct items of the same category, popular ones more often."""
        table = np.empty((self.num_items, count), np.int64)
        for category in np.unique(self.category):
            items = np.flatnonzero(self.category == category)
            # The largest of Gumbel-perturbed logits are a draw without
            # replacement.
            keys = random.gumbel(size=(len(items), len(items)))
            keys += 0.5 * self._log_popularity[items]
            np.fill_diagonal(keys, -np.inf)
            table[items] = items[np.argsort(-keys, axis=1)[:, :count]]
        return table

    def _draw_sessions(self, random, days, lengths):
        """Items of all sessions, step by step: (sessions, longest)."""
        items = np.zeros((len(days), lengths.max()), np.int64)
        popularity = np.cumsum(
            [self.popularity(day) for day in range(1, self.num_days + 1)], axis=1
        )

        def popular(rows):
            draws = random.random(len(rows))
            out = np.empty(len(rows), np.int64)
            for day in np.unique(days[rows]):
                here = days[rows] == day
                out[here] = np.searchsorted(popularity[day - 1], draws[here])
            return np.minimum(out, self.num_items - 1)

        def successor(table, of):
            edges = np.cumsum(self.successor_probabilities)[:-1]
            return table[of, np.searchsorted(edges, random.random(len(of)))]

        first, second = self.successors
        items[:, 0] = popular(np.arange(len(days)))
        for step in range(1, items.shape[1]):
            waiting = np.flatnonzero(lengths > step)
            # One earlier click is too few for S2 and R.
            there = np.array([1, step > 1, step > 1, 1])
            weights = np.cumsum(np.multiply(self.weights, there))
            # A draw that repeats the last item is drawn again as a whole:
            # that leaves p, renormalised without it.
            while len(waiting):
                draws = random.random(len(waiting)) * weights[-1]
                part = np.searchsorted(weights[:-1], draws, side="right")
                last = items[waiting, step - 1]
                drawn = popular(waiting)
                rows = part == 0
                drawn[rows] = successor(first, last[rows])
                rows = part == 1
                drawn[rows] = successor(second, items[waiting[rows], step - 2])
                rows = part == 2
                places = random.integers(0, max(step - 1, 1), rows.sum())
                drawn[rows] = items[waiting[rows], places]
                items[waiting, step] = drawn
                waiting = waiting[drawn == last]
        return items
