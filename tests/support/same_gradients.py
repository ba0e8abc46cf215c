"""Holds a body's gradients to those of its reference, by the names of its weights."""

import numpy as np

from keras_t4r.bodies.huggingface.weights import match_weights


def assert_same_gradients(body, found, expected_by_x, expected):
    """Compares to 1e-4, and that there is something to compare.

    Args:
        body: the body.
        found: what the fixture `gradients` returned for it.
        expected_by_x: array.
        expected: dict of arrays, under the reference's names of its parameters.
    """
    by_x, by_variables = found
    np.testing.assert_allclose(by_x, expected_by_x, rtol=0, atol=1e-4)
    assert np.abs(by_x).max() > 1e-3
    wanted = {id(v): g for v, g in match_weights(body, expected)}
    assert len(wanted) == len(by_variables)
    for variable, gradient in by_variables:
        np.testing.assert_allclose(
            gradient, wanted[id(variable)], rtol=0, atol=1e-4, err_msg=variable.path
        )
        # A key's bias shifts all scores of a query alike: part of it has none.
        assert np.abs(gradient).max() > 1e-4, variable.path
