import math

import keras
import numpy as np
from keras import ops

from keras_t4r.arguments import number

PERIODS = {"hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "year": 31_556_952.0}


@keras.saving.register_keras_serializable(package="keras_t4r")
class PeriodicTime(keras.layers.Layer):
    """The hour of the day, the day of the week and the like, as points on circles.

    `[sin(2 pi t / P_1), cos(2 pi t / P_1), sin(2 pi t / P_2), …]` for the periods `P`,
    so that midnight is near 23 o'clock.

    Args:
        periods: list of `"hour"`, `"day"`, `"week"`, `"year"`, or numbers of seconds.
        utc_offset: float. Hours that the shop's clock is ahead of that of the times.

    Call arguments:
        x: float tensor, of any shape. Times in seconds since 1970, or since any moment.

    Returns:
        A tensor of that shape and one axis more, twice as wide as there are periods.

    Raises:
        TypeError, ValueError: a period is none.

    Example:

    ```python
    columns = {"seconds": PeriodicTime(["day", "week"], utc_offset=1)}
    ```
    """

    def __init__(self, periods=("day", "week"), utc_offset=0.0, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})
        if isinstance(periods, (str, int, float)):
            periods = [periods]
        self.periods = list(periods)
        if not self.periods:
            raise ValueError("periods is empty; it should name one at least.")
        self._seconds = [_seconds(period) for period in self.periods]
        self.utc_offset = number("utc_offset", utc_offset, -24, 24)
        self.built = True

    def call(self, x):
        x = ops.expand_dims(ops.cast(x, "float32"), -1)
        seconds = ops.convert_to_tensor(self._seconds, "float32")
        # The rest first: it keeps what digits there are.
        within = ops.mod(ops.mod(x, seconds) + self.utc_offset * 3600.0, seconds)
        angle = within / seconds * (2 * math.pi)
        both = ops.stack([ops.sin(angle), ops.cos(angle)], axis=-1)
        shape = (*ops.shape(x)[:-1], 2 * len(self._seconds))
        return ops.cast(ops.reshape(both, shape), self.compute_dtype)

    def compute_output_spec(self, x):
        shape = (*x.shape, 2 * len(self._seconds))
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "periods": list(self.periods),
            "utc_offset": self.utc_offset,
        }


def _seconds(period):
    if isinstance(period, str):
        if period not in PERIODS:
            raise ValueError(
                f"A period is {period!r}; it should be one of {list(PERIODS)}, or a "
                "number of seconds."
            )
        return PERIODS[period]
    return float(np.float32(number("a period", period, above=0)))
