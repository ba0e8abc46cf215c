"""A model that gathers rows of its item table, to train by one optimizer or another."""

import keras
import numpy as np

import keras_t4r as t4r

ITEMS = 400
ROWS = ITEMS + 1

# Kind → the row-sparse optimizer, Keras's, and arguments of both.
OPTIMIZERS = {
    "adam": (t4r.optimizers.RowSparseAdam, keras.optimizers.Adam, {}),
    "amsgrad": (
        t4r.optimizers.RowSparseAdam,
        keras.optimizers.Adam,
        {"amsgrad": True},
    ),
    "adamw": (
        t4r.optimizers.RowSparseAdamW,
        keras.optimizers.AdamW,
        {"weight_decay": 0.1},
    ),
    "adagrad": (t4r.optimizers.RowSparseAdagrad, keras.optimizers.Adagrad, {}),
    "sgd": (t4r.optimizers.RowSparseSGD, keras.optimizers.SGD, {}),
    "momentum": (
        t4r.optimizers.RowSparseSGD,
        keras.optimizers.SGD,
        {"momentum": 0.9},
    ),
    "nesterov": (
        t4r.optimizers.RowSparseSGD,
        keras.optimizers.SGD,
        {"momentum": 0.9, "nesterov": True},
    ),
    "average": (
        t4r.optimizers.RowSparseAdam,
        keras.optimizers.Adam,
        {"use_ema": True, "ema_momentum": 0.8},
    ),
    "clipped": (
        t4r.optimizers.RowSparseAdagrad,
        keras.optimizers.Adagrad,
        {"global_clipnorm": 0.5},
    ),
    "scaled": (
        t4r.optimizers.RowSparseAdagrad,
        keras.optimizers.Adagrad,
        {"loss_scale_factor": 64.0},
    ),
}


def session_model(loss=None, normalize=False, optimizer="adam", dim=8):
    """Ids 2..400, and so 401 rows of a table and of a head's bias."""
    schema = t4r.Schema(
        (
            t4r.ColumnSchema(
                "item_id",
                tags=("item_id", "categorical"),
                domain=t4r.Domain(2, ITEMS),
                value_count=(1, 6),
            ),
        )
    )
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=dim)(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    config = t4r.session_config("sasrec", d_model=dim, n_layer=1, dropout=0.0)
    x = t4r.TransformerBlock(config, causal=True)(x)
    loss = t4r.losses.SampledSoftmax(4) if loss is None else loss
    head = t4r.NextItemHead(loss=loss, normalize=normalize, temperature=0.5)
    model = t4r.SessionModel(inputs, head(x, targets, table))
    model.compile(optimizer, metrics=[])
    return model


def sessions(count=8, seed=0, items=ITEMS):
    rng = np.random.default_rng(seed)
    return {"item_id": rng.integers(2, items + 1, (count, 6)).astype("int32")}
