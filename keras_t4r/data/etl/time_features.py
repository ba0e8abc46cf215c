"""Numbers that depend on the time of a click alone, and windows of time."""

import numpy as np

DAY = 86_400_000_000  # in microseconds


def _day_of_week(times):
    # 1 January 1970 was a Thursday, day 3 of a week that starts on Monday.
    return (times // DAY + 3) % 7 / 7


def _time_of_day(times):
    return times % DAY / DAY


# After 27 weeks they begin anew: float32 tells the whole seconds of them apart, and not
# of one week more. With whole weeks the hour and the day stay what they are.
_TOLD_APART = 27 * 7 * 86_400

TIME_FEATURES = {
    "dayofweek_sin": lambda times: np.sin(2 * np.pi * _day_of_week(times)),
    "dayofweek_cos": lambda times: np.cos(2 * np.pi * _day_of_week(times)),
    "hour_sin": lambda times: np.sin(2 * np.pi * _time_of_day(times)),
    "hour_cos": lambda times: np.cos(2 * np.pi * _time_of_day(times)),
    "seconds": lambda times: times // 1_000_000 % _TOLD_APART,
}


def time_feature(name, times):
    """The feature of microseconds since 1970 (UTC), as float32."""
    return TIME_FEATURES[name](times).astype(np.float32)


def log_age(times, first_times):
    """log(1 + days since the first time); 0 before it."""
    days = np.maximum(times - first_times, 0) / DAY
    return np.log1p(days)


def window_origin(first_time, unit):
    """Start of the unit (minute, hour, day) in which the log begins."""
    return int(first_time) // unit * unit


def window_index(times, origin, length):
    """Windows are counted from 1, the one that starts at the origin."""
    return ((times - origin) // length + 1).astype(np.int32)
