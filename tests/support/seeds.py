from unittest import mock

import keras


def set_seed(seed):
    """Keras's seed, without TensorFlow's own.

    To set that one drops all that TensorFlow has compiled, a second for each model, and
    nothing in the package draws by it.
    """
    with mock.patch("tensorflow.random.set_seed"):
        keras.utils.set_random_seed(seed)
