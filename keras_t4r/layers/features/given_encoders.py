"""The encoders of columns that a caller gives by name."""

import keras

from keras_t4r.layers.features.columns.side_by_side import SideBySide


def checked_encoders(columns, schema):
    """Encoders as layers.

    Args:
        columns: dict of column name to a layer, a list of layers, or the name of
            another column, whose layer is then shared; or `None`.
        schema: `Schema`. The columns that a model reads.

    Returns:
        A dict of column name to layer, in the order of the names.

    Raises:
        TypeError: something is no layer.
        ValueError: there is no such column, or it has no layer that could be shared.
    """
    found = {}
    for name, encoder in sorted((columns or {}).items()):
        if name not in schema:
            raise ValueError(
                f"columns names {name!r}, which is no column that the model reads; "
                f"those are {schema.names}: tag it in the schema."
            )
        if isinstance(encoder, (list, tuple)) and encoder:
            for one in encoder:
                _check_layer(name, one)
            encoder = SideBySide(encoder, name=f"{schema[name].plain_name}_encoder")
        if not isinstance(encoder, str):
            _check_layer(name, encoder)
        found[name] = encoder
    for name, encoder in found.items():
        if isinstance(encoder, str):
            shared = found.get(encoder)
            if shared is None or isinstance(columns[encoder], str):
                raise ValueError(
                    f"Column {name!r} is to share the encoder of {encoder!r}, which "
                    "columns gives none: give that column a layer."
                )
            found[name] = shared
    return found


def encoders_to_config(encoders):
    """A dict that JSON can hold: a shared layer stands in it once."""
    config, owners = {}, {}
    for name, encoder in encoders.items():
        owner = owners.setdefault(id(encoder), name)
        config[name] = owner
        if owner == name:
            config[name] = keras.saving.serialize_keras_object(encoder)
    return config


def encoders_from_config(config):
    """What `encoders_to_config` wrote, as `columns` takes it."""
    return {
        name: one
        if isinstance(one, str)
        else keras.saving.deserialize_keras_object(one)
        for name, one in config.items()
    }


def _check_layer(name, encoder):
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(
            f"The encoder of column {name!r} is {encoder!r}; it should be a Keras "
            "layer, a list of them, or the name of a column whose encoder is shared."
        )
