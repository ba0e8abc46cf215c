import copy

import keras

from keras_t4r.losses.next_item_loss import NextItemLoss
from keras_t4r.losses.samplers.negative_sampler import NegativeSampler


def own_copy(loss):
    """A copy of a loss that one head keeps, so that others may be made from the same.

    What a loss and its samplers build, and the states that they draw by, are a head's
    own. All else is shared.

    Args:
        loss: `NextItemLoss`, or any object with such a `call`. One that builds nothing
            is given back as it is.
    """
    return _copy(loss)


def _copy(part):
    if isinstance(part, keras.random.SeedGenerator):
        return keras.random.SeedGenerator.from_config(part.get_config())
    if type(part) in (list, tuple):
        return type(part)(map(_copy, part))
    if type(part) is dict:
        return {name: _copy(value) for name, value in part.items()}
    if not isinstance(part, (NextItemLoss, NegativeSampler)):
        return part
    made = copy.copy(part)
    for name, value in vars(part).items():
        setattr(made, name, _copy(value))
    return made
