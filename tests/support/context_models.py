"""Small session models that read a context, each in another place."""

import keras
import numpy as np
import pyarrow as pa
from keras import ops

import keras_t4r as t4r

WIDTH, LENGTH, ITEMS = 16, 6, 30
CONTEXT = ["age", "country"]


def _list(name, *tags, dtype="int64", domain=None):
    return t4r.ColumnSchema(name, dtype, tags, domain, (1, LENGTH))


SCHEMA = t4r.Schema(
    (
        _list(
            "item_id", "item_id", "categorical", domain=t4r.Domain(2, ITEMS + 1, "item")
        ),
        _list("price", "continuous", dtype="float32"),
        t4r.ColumnSchema(
            "country", "int64", ("context", "categorical"), t4r.Domain(2, 4, "country")
        ),
        t4r.ColumnSchema("age", "float32", ("context", "continuous")),
        t4r.ColumnSchema("session_id", tags=("session_id",)),
    )
)

# Where the context goes in.
PLACES = ("before", "latent-cross", "concat", "token", "token-and-cross")
# A scheme with a body of each sort that goes with it.
ENCODERS = {
    "clm-gpt2": (t4r.CausalLanguageModeling, "gpt2", True),
    "clm-gru": (t4r.CausalLanguageModeling, "gru", True),
    "mlm-bert": (t4r.MaskedLanguageModeling, "bert", False),
    "plm-xlnet": (t4r.PermutationLanguageModeling, "xlnet", False),
}


def build(encoder="clm-gpt2", place="latent-cross", outputs="one"):
    """A `SessionModel`; wide initial tables, so that it tells sessions apart."""
    wide = keras.initializers.RandomNormal(stddev=1.0)
    features = t4r.SequenceEmbeddingFeatures(
        SCHEMA.without(CONTEXT), WIDTH, embedding_dim=8, embeddings_initializer=wide
    )
    read = t4r.ContextFeatures(
        SCHEMA, CONTEXT, embedding_dim=4, embeddings_initializer=wide
    )
    inputs = SCHEMA.inputs()
    (x, table), context = features(inputs), read(inputs)
    if place == "before":
        x = t4r.ContextFusion("sum", wide)(x, context)
    scheme, body, causal = ENCODERS[encoder]
    x, targets, *visible = scheme()(x, inputs["item_id"])
    given = dict(zip(["visible"], visible, strict=False))
    if place.startswith("token"):
        x = t4r.ContextToken()(x, context, **given)
        if given:
            x, given = x[0], {"visible": x[1]}
    config = t4r.session_config(
        body, WIDTH, n_head=2, n_layer=1, max_length=2 * LENGTH, dropout=0.0
    )
    x = t4r.TransformerBlock(config, causal=causal)(x, **given)
    if place.startswith("token"):
        x = t4r.DropContextToken()(x)
    if place.endswith("cross"):
        x = t4r.ContextFusion("latent-cross", wide)(x, context)
    elif place == "concat":
        x = t4r.ContextFusion("concat")(x, context)
    scores = t4r.NextItemHead()(x, targets, table)
    more = {}
    if outputs == "liked":
        liked = keras.layers.Dense(1, "sigmoid")(x)
        scores, more["loss"] = {"item": scores, "liked": liked}, {"liked": "bce"}
        more["metrics"] = {"item": [t4r.metrics.NDCG(5)]}
    else:
        more["metrics"] = [t4r.metrics.NDCG(5)]
    model = t4r.SessionModel(inputs, scores)
    model.compile(keras.optimizers.Adam(0.02), **more)
    return model


def sessions(count=24, seed=0, shortest=2, learnable=False):
    """A table of random sessions; or such that the country tells the last item."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, LENGTH + 1, count)
    country = rng.integers(2, 5, count)
    items = [rng.integers(2, ITEMS + 2, n).astype("int32") for n in lengths]
    if learnable:
        for row, of in zip(items, country, strict=True):
            row[1:] = of + 5
    prices = [rng.normal(size=n).astype("float32") for n in lengths]
    return pa.table(
        {
            "session_id": np.arange(count),
            "item_id": pa.array([r.tolist() for r in items], pa.list_(pa.int32())),
            "price": pa.array([r.tolist() for r in prices], pa.list_(pa.float32())),
            "country": pa.array(country.astype("int32")),
            "age": pa.array(rng.normal(size=count).astype("float32")),
        }
    )


def loader(table, batch_size=24, **options):
    return t4r.KerasSequenceLoader(table, SCHEMA, batch_size, bucket=False, **options)


def batch(count=6, seed=0, shortest=2):
    return loader(sessions(count, seed, shortest), count, shuffle=False)[0][0]


def scores_of(model, x):
    return ops.convert_to_numpy(model(x, training=False))
