"""Answers from a server beside those of the model itself."""

import numpy as np


def assert_answers(answers, expected):
    """What a client was answered is what `recommend` answers."""
    assert [row["session_id"] for row in answers] == expected["session_id"].tolist()
    assert [row["item_id"] for row in answers] == expected["item_id"].tolist()
    scores = np.array([row["scores"] for row in answers])
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-5)
