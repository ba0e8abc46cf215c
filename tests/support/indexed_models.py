"""Small trained models that answer with an index."""

import keras
import numpy as np
from seeds import set_seed

import keras_t4r as t4r

ITEMS = 300
# Raw ids that could be taken for encoded ones.
RAW = np.random.default_rng(0).permutation(np.arange(2, ITEMS + 2)).tolist()
VOCABULARY = t4r.Vocabulary(RAW)


def sessions(count, seed=0):
    """Raw sessions of neighbouring items, which are seen again now and then."""
    random = np.random.default_rng(seed)
    starts = random.integers(0, ITEMS, count)
    steps = [random.integers(-2, 4, 2 + n % 7) for n in range(count)]
    return [
        [RAW[(start + step) % ITEMS] for step in np.cumsum(of)]
        for start, of in zip(starts, steps, strict=True)
    ]


def encoded(rows, width=10):
    ids = np.zeros((len(rows), width), "int32")
    for row, session in enumerate(rows):
        ids[row, : len(session)] = VOCABULARY.encode(session)
    return ids


def schema_of(vocabulary=VOCABULARY):
    column = t4r.ColumnSchema(
        "item_id",
        "int64",
        ("item_id", "categorical"),
        t4r.Domain(2, vocabulary.last_id, "item_id"),
        (1, 11),
    )
    return t4r.Schema((column,))


def make_model(steps=(), vocabulary=VOCABULARY, fit=True, **head):
    """A model with steps after the head, called in turn: functions of the schema."""
    set_seed(1)
    schema = schema_of(vocabulary)
    features = t4r.SequenceEmbeddingFeatures(
        schema,
        d_output=16,
        embedding_dim=16,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0),
        vocabularies={"item_id": vocabulary},
    )
    inputs = schema.inputs()
    items = inputs["item_id"]
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, items)
    config = t4r.session_config("gpt2", d_model=16, n_head=2, n_layer=1, dropout=0.0)
    x = t4r.TransformerBlock(config, causal=True)(x)
    scores = t4r.NextItemHead(**head)(x, targets, table)
    for step in steps:
        scores = step(schema)(scores, items)
    model = t4r.SessionModel(inputs, scores)
    if fit:
        # XLA takes longer to compile than these models to answer.
        model.compile(keras.optimizers.Adam(3e-2), jit_compile=False)
        x = {"item_id": encoded(sessions(256, seed=3))}
        model.fit(x, batch_size=64, epochs=2, verbose=0)
    if model.memory is not None:
        model.memory.adapt(encoded(sessions(400, seed=5)))
    return model
