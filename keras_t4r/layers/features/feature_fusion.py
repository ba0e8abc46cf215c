import keras
from keras import ops

from keras_t4r.layers.features.aggregations import AGGREGATIONS

# The numbers that are projected together, among the names of features.
NUMBERS = "continuous"


class FeatureFusion(keras.layers.Layer):
    """The features of an event → one vector; a part of `SequenceEmbeddingFeatures`.

    Args:
        item: string. Which feature is that of the items.
        numbers: list of strings. Features that `continuous_projection` joins.
        plain: dict of feature to what its weights are called.
        aggregation, d_output, continuous_projection, layer_norm, feature_dropout,
            dropout: of `SequenceEmbeddingFeatures`.

    Call arguments:
        features: dict of name to tensor `(batch, time, width)`.

    Returns:
        A tensor `(batch, time, …)`.
    """

    def __init__(
        self,
        item,
        numbers,
        plain,
        aggregation,
        d_output,
        continuous_projection,
        layer_norm,
        feature_dropout,
        dropout,
        **kwargs,
    ):
        super().__init__(**{"autocast": False, **kwargs})
        self.item = item
        self.numbers = numbers if continuous_projection else []
        self.plain = {**plain, NUMBERS: NUMBERS}
        self.aggregation = aggregation
        self.d_output = d_output
        self.continuous_projection = continuous_projection
        self.layer_norm = layer_norm
        self.feature_dropout = feature_dropout
        self.dropout = dropout

    def build(self, features_shape):
        widths = {name: shape[-1] for name, shape in features_shape.items()}
        self.numbers_projection = None
        if self.numbers:
            self.numbers_projection = self._dense(
                f"{NUMBERS}_projection",
                sum(widths.pop(name) for name in self.numbers),
                self.continuous_projection,
                "relu",
            )
            widths[NUMBERS] = self.continuous_projection
        self.names = sorted(widths)
        if isinstance(self.aggregation, str):
            self.aggregation = AGGREGATIONS[self.aggregation](
                self.names.index(self.item), dtype=self.dtype_policy
            )
        self.projections = {}
        if getattr(self.aggregation, "needs_one_width", False):
            one = widths[self.item]
            for name in self.names:
                if widths[name] != one:
                    own = f"{self.plain[name]}_to_item_width"
                    self.projections[name] = self._dense(own, widths[name], one)
            widths = dict.fromkeys(widths, one)
        self.norms, self.dropouts = {}, {}
        for name in self.names:
            if self.layer_norm and widths[name] > 1:
                norm = keras.layers.LayerNormalization(
                    name=f"{self.plain[name]}_norm", dtype=self.dtype_policy
                )
                norm.build((None, None, widths[name]))
                self.norms[name] = norm
            if self.feature_dropout:
                self.dropouts[name] = keras.layers.Dropout(
                    self.feature_dropout, dtype=self.dtype_policy
                )
        shapes = [(None, None, widths[name]) for name in self.names]
        if not self.aggregation.built:
            self.aggregation.build(shapes)
        shape = tuple(self.aggregation.compute_output_shape(shapes))
        self.output_projection = None
        if self.d_output is not None:
            self.output_projection = self._dense(
                "output_projection", shape[-1], self.d_output
            )
            shape = (*shape[:-1], self.d_output)
        #: Shape of an event.
        self.event_shape = shape[2:]
        self.output_dropout = keras.layers.Dropout(
            self.dropout, dtype=self.dtype_policy
        )

    def _dense(self, name, width, units, activation=None):
        layer = keras.layers.Dense(
            units, activation=activation, name=name, dtype=self.dtype_policy
        )
        layer.build((None, None, width))
        return layer

    def call(self, features):
        x = self.aggregation(self.even(features))
        if self.output_projection is not None:
            x = self.output_projection(x)
        return self.output_dropout(ops.cast(x, self.compute_dtype))

    def even(self, features):
        """The features as they are aggregated: a list, in the order of their names."""
        features = dict(features)
        if self.numbers_projection is not None:
            numbers = [features.pop(name) for name in self.numbers]
            numbers = ops.concatenate(numbers, axis=-1)
            features[NUMBERS] = self.numbers_projection(numbers)
        # In turn; each feature has what was made for it.
        for layers in (self.projections, self.norms, self.dropouts):
            features.update((name, layers[name](features[name])) for name in layers)
        return [features[name] for name in self.names]

    def compute_output_shape(self, features_shape):
        return (*features_shape[self.item][:2], *self.event_shape)
