import numpy as np

from keras_t4r.data.etl.time_features import time_feature

WEEK = 7 * 86_400


def test_seconds_begin_anew_after_whole_weeks_and_are_told_apart():
    seconds = np.array([0, 27 * WEEK - 1, 27 * WEEK, 28 * WEEK + 5])
    found = time_feature("seconds", seconds * 1_000_000)
    assert found.dtype == np.float32
    assert found.astype(int).tolist() == [0, 27 * WEEK - 1, 0, WEEK + 5]
    # So the hour and the day of the week are those of the time itself.
    assert (found.astype(int) % WEEK == seconds % WEEK).all()
