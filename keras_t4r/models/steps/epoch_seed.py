import keras
from keras import ops

from keras_t4r import backend


class EpochSeed(keras.callbacks.Callback):
    """Lets dropout on PyTorch go on from a checkpoint as if the run had never stopped.

    The state of `torch`'s generator is in no checkpoint. With a Keras seed it is made
    anew at each epoch, from the seed and the optimizer's steps, which checkpoints have.
    """

    def on_epoch_begin(self, epoch, logs=None):
        steps = self.model.optimizer.iterations
        backend.seed_global_random_state(int(ops.convert_to_numpy(steps)))
