"""Errors of Python within `tf.data`, which TensorFlow makes its own of."""

import re
import sys
from contextlib import contextmanager

_TYPES = {kind.__name__: kind for kind in (TypeError, ValueError)}
_SENTENCE = re.compile(rf"\b({'|'.join(_TYPES)}): (.+)")


@contextmanager
def raised_as_they_were():
    """Within it, what a dataset raises is raised on TensorFlow as it is elsewhere.

    There a `TypeError` or `ValueError` of Python comes out as an
    `InvalidArgumentError`, whose text has the sentence among the lines of a graph.
    """
    try:
        yield
    except Exception as error:
        tensorflow = sys.modules.get("tensorflow")
        if tensorflow is None:
            raise
        if not isinstance(error, tensorflow.errors.InvalidArgumentError):
            raise
        found = _SENTENCE.search(str(error))
        if found is None:
            raise
        kind, sentence = found.groups()
        raise _TYPES[kind](sentence) from error
