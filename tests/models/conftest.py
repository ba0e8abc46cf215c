"""Small models of every kind: scheme x body x tied or own table."""

import keras
import numpy as np
import pyarrow as pa
import pytest
from transformers import BertConfig, GPT2Config, XLNetConfig

import keras_t4r as t4r

WIDTH, MAX_LENGTH, ITEMS = 16, 8, 40

SCHEMA = t4r.Schema(
    (
        t4r.ColumnSchema(
            "item_id",
            tags=("item_id", "categorical"),
            domain=t4r.Domain(2, ITEMS + 1, "item"),
            value_count=(1, MAX_LENGTH),
        ),
        t4r.ColumnSchema(
            "last_category",
            tags=("categorical",),
            domain=t4r.Domain(2, 6, "category"),
            value_count=(1, MAX_LENGTH),
        ),
        t4r.ColumnSchema("age", "float32", ("continuous",), None, (1, MAX_LENGTH)),
        t4r.ColumnSchema(
            "country", tags=("context", "categorical"), domain=t4r.Domain(2, 4)
        ),
        t4r.ColumnSchema("session_id", tags=("session_id",)),
    )
)

SCHEMES = ["clm", "mlm"]
BODIES = ["xlnet", "gpt2", "bert"]
GRID = [
    (scheme, body, tied) for scheme in SCHEMES for body in BODIES for tied in (1, 0)
]
GRID += [("plm", "xlnet", tied) for tied in (1, 0)]
GRID += [("rtd", body, tied) for body in ("xlnet", "bert") for tied in (1, 0)]
GRID += [(scheme, "xlnet", 1, "memory") for scheme in SCHEMES]


def make_block(body, causal):
    shape = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    if body == "xlnet":
        config = XLNetConfig(
            d_model=WIDTH, n_head=2, n_layer=2, d_inner=32, dropout=0.0
        )
    elif body == "gpt2":
        none = dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        config = GPT2Config(
            n_embd=WIDTH, n_head=2, n_layer=2, n_positions=MAX_LENGTH + 8, **none
        )
    else:
        config = BertConfig(
            hidden_size=WIDTH,
            num_attention_heads=2,
            num_hidden_layers=2,
            intermediate_size=32,
            max_position_embeddings=MAX_LENGTH + 8,
            **shape,
        )
    return t4r.TransformerBlock(config, causal=causal)


def make_model(
    scheme="mlm", body="xlnet", tied=True, memory=None, schema=SCHEMA, **head
):
    if memory:
        sessions = t4r.KerasSequenceLoader(random_sessions(64, seed=9), schema, 16)
        head["memory"] = t4r.TransitionMemory(schema).update(sessions)
    features = t4r.SequenceEmbeddingFeatures(
        schema,
        d_output=WIDTH,
        embedding_dim=12,
        # Wide enough that an untrained model tells sessions apart.
        embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0),
    )
    inputs = schema.inputs()
    x = features(inputs)
    more = {}
    if scheme == "clm":
        x, targets = t4r.CausalLanguageModeling()(x, inputs[schema.item_id])
    elif scheme in ("mlm", "rtd"):
        x, targets = t4r.MaskedLanguageModeling(rate=0.3)(x, inputs[schema.item_id])
    else:
        layer = t4r.PermutationLanguageModeling(rate=0.3)
        x, targets, more["visible"] = layer(x, inputs[schema.item_id])
    block = make_block(body, causal=scheme == "clm")
    items = inputs[schema.item_id]
    head = t4r.NextItemHead(
        features.item_embedding,
        tied=bool(tied),
        sample_replacements=scheme == "rtd",
        **head,
    )
    outputs = head(block(x, **more), targets, item_ids=items)
    if scheme == "rtd":
        scores, replaced = outputs
        read = block(features({**inputs, schema.item_id: replaced}))
        outputs = t4r.ReplacedTokenDetection()(scores, read, replaced, items)
    model = t4r.SessionModel(inputs, outputs)
    model.compile(
        keras.optimizers.Adam(1e-2),
        metrics=[t4r.metrics.NDCG(4), t4r.metrics.Recall(4)],
    )
    return model


def random_sessions(count, seed=0, shortest=2):
    """A table of independent random sessions: there is nothing to learn in it.

    An event's category is that of its item, so whoever sees the category of the event
    to be predicted knows more than chance.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, MAX_LENGTH + 1, count)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype("int32"))
    total = int(lengths.sum())
    items = rng.integers(2, ITEMS + 2, total).astype("int32")

    def lists(values):
        return pa.ListArray.from_arrays(offsets, pa.array(values))

    return pa.table(
        {
            "session_id": np.arange(count) + 1000,
            "item_id": lists(items),
            "last_category": lists(items % 5 + 2),
            "age": lists(rng.normal(size=total).astype("float32")),
            "country": pa.array(rng.integers(2, 5, count).astype("int32")),
        }
    )


def batch(count=6, seed=0, shortest=2):
    """The same sessions as one padded batch."""
    loader = t4r.KerasSequenceLoader(
        random_sessions(count, seed, shortest),
        SCHEMA,
        count,
        shuffle=False,
        bucket=False,
    )
    return loader[0][0]


@pytest.fixture(scope="module", params=GRID, ids=lambda p: "-".join(map(str, p)))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind):
    keras.utils.set_random_seed(3)
    return make_model(*kind)


@pytest.fixture
def build():
    """The helpers above, for tests: build.model(…), build.sessions(…), …"""
    from types import SimpleNamespace

    return SimpleNamespace(
        model=make_model,
        sessions=random_sessions,
        batch=batch,
        block=make_block,
        schema=SCHEMA,
        items=ITEMS,
        max_length=MAX_LENGTH,
        width=WIDTH,
    )
