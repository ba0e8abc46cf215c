import keras


class ItemEmbedding:
    """The item table of a `SequenceEmbeddingFeatures`, for heads to tie to.

    A head that is tied takes the table as a tensor of the functional graph,
    not as a reference to another layer. So Keras knows of the tie, and keeps
    it through `from_config`, `clone_model` and `.keras` files.

    Attributes:
        cardinality: int. Rows of the table: the highest id plus one.
        first_id: int. The lowest id of a real item.
        dim: int. Width of the table.
    """

    def __init__(self, features, column, dim):
        self._features = features
        self.cardinality = column.cardinality
        self.first_id = column.first_id
        self.dim = dim

    def table(self, like):
        """The table `(cardinality, dim)`, symbolic where `like` is symbolic.

        Raises:
            ValueError: the features have not been called yet.
        """
        features = self._features
        if not isinstance(like, keras.KerasTensor):
            return features.item_table()
        if features.symbolic_inputs is None:
            raise ValueError(
                f"The head is tied to the items of {features.name!r}, which has not "
                "been called yet: call the features on the model's inputs first."
            )
        return features(features.symbolic_inputs, item_table=True)
