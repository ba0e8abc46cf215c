"""Several features of an event → one tensor of the event."""

import keras
from keras import ops


class Aggregation(keras.layers.Layer):
    """Base of the ways to aggregate features.

    Call arguments:
        features: list of tensors `(batch, time, width)`, in the order of their names.

    Returns:
        A tensor `(batch, time, …)`.
    """

    #: Whether features of several widths are first projected to that of the items.
    needs_one_width = False

    def __init__(self, item=0, **kwargs):
        super().__init__(**kwargs)
        #: Which feature is that of the items.
        self.item = item

    def get_config(self):
        return {**super().get_config(), "item": self.item}


@keras.saving.register_keras_serializable(package="keras_t4r")
class Concat(Aggregation):
    """`[x_1; …; x_n]`."""

    def call(self, features):
        return _side_by_side(features)

    def compute_output_shape(self, features_shape):
        return (*features_shape[0][:-1], _width(features_shape))


@keras.saving.register_keras_serializable(package="keras_t4r")
class Stack(Aggregation):
    """The features on an axis of their own, `(batch, time, n, width)`."""

    needs_one_width = True

    def call(self, features):
        return ops.stack(features, axis=-2)

    def compute_output_shape(self, features_shape):
        *leading, width = features_shape[0]
        return (*leading, len(features_shape), width)


@keras.saving.register_keras_serializable(package="keras_t4r")
class ElementWiseSum(Aggregation):
    """`x_1 + … + x_n`."""

    needs_one_width = True

    def call(self, features):
        return _sum(features)

    def compute_output_shape(self, features_shape):
        return tuple(features_shape[0])


@keras.saving.register_keras_serializable(package="keras_t4r")
class ElementWiseSumItemMulti(ElementWiseSum):
    """`x_item * (sum of the others)`; of an item alone it is the item."""

    def call(self, features):
        others = [x for place, x in enumerate(features) if place != self.item]
        item = features[self.item]
        return item * _sum(others) if others else item


@keras.saving.register_keras_serializable(package="keras_t4r")
class Gated(Aggregation):
    """`[g_1 x_1; …; g_n x_n]` with `g = sigmoid(W [x_1; …; x_n] + b)`.

    Each feature has one gate, which all features of the event open or close.
    """

    def build(self, features_shape):
        self.gates = keras.layers.Dense(
            len(features_shape), "sigmoid", name="gates", dtype=self.dtype_policy
        )
        self.gates.build((None, None, _width(features_shape)))

    def call(self, features):
        gates = ops.split(self.gates(_side_by_side(features)), len(features), axis=-1)
        pairs = zip(gates, features, strict=True)
        return _side_by_side([gate * x for gate, x in pairs])

    def compute_output_shape(self, features_shape):
        return (*features_shape[0][:-1], _width(features_shape))


AGGREGATIONS = {
    "concat": Concat,
    "stack": Stack,
    "element-wise-sum": ElementWiseSum,
    "element-wise-sum-item-multi": ElementWiseSumItemMulti,
    "gated": Gated,
}


def _side_by_side(features):
    return features[0] if len(features) == 1 else ops.concatenate(features, axis=-1)


def _sum(features):
    return sum(features[1:], features[0])


def _width(shapes):
    return sum(shape[-1] for shape in shapes)
