import keras

from keras_t4r.losses.samplers.uniform import UniformSampler


def get_sampler(negatives):
    """The sampler of a loss's argument: a sampler, its config, or how many to draw."""
    if isinstance(negatives, dict):
        negatives = keras.saving.deserialize_keras_object(negatives)
    if callable(getattr(negatives, "draw", None)):
        return negatives
    return UniformSampler(negatives)
