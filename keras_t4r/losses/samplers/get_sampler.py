import keras

from keras_t4r.losses.samplers.negative_sampler import NegativeSampler
from keras_t4r.losses.samplers.uniform import UniformSampler


def get_sampler(negatives):
    """The sampler of a loss's argument: a sampler, its config, or how many to draw.

    Raises:
        TypeError, ValueError: it is none of them, or a class, or no
            `NegativeSampler` though it draws.
    """
    if isinstance(negatives, dict):
        negatives = keras.saving.deserialize_keras_object(negatives)
    if isinstance(negatives, type):
        raise TypeError(
            f"A sampler is an object, and {negatives.__name__} is a class: make one, "
            f"{negatives.__name__}(…)."
        )
    if isinstance(negatives, NegativeSampler):
        return negatives
    if hasattr(negatives, "draw"):
        raise TypeError(
            f"A sampler is a NegativeSampler, and {type(negatives).__name__} is none: "
            "make it a subclass, which has what a loss asks of it."
        )
    return UniformSampler(negatives)
