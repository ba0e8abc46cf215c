"""Small models of every kind: scheme x body x tied or own table."""

import keras
import numpy as np
import pyarrow as pa
import pytest
from body_kinds import KINDS

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


def _schemes(kind):
    """The schemes that go with a body, by its directions and its streams."""
    if True in KINDS[kind].directions:
        yield "clm"
    if False in KINDS[kind].directions:
        yield from ("mlm", "rtd")
    if kind == "xlnet":
        yield "plm"


GRID = [
    (scheme, kind, tied)
    for kind in KINDS
    for scheme in _schemes(kind)
    for tied in (1, 0)
]
GRID += [("clm-last", "gpt2", 1), ("plm-all", "xlnet", 1)]
GRID += [(scheme, "xlnet", 1, "memory") for scheme in ("clm", "mlm")]
# One of each sort of body and scheme. JAX and PyTorch run these, and only these show
# what has little to do with the body: that a seed tells all, that nothing is pickled.
SORTS = [
    ("clm", "gpt2", 1),
    ("clm", "llama", 1),
    ("clm", "gru", 1),
    ("clm", "hstu", 1),
    ("mlm", "bert", 1),
    ("mlm", "longformer", 1),
    ("mlm", "reformer", 1),
    ("mlm", "xlnet", 0),
    ("rtd", "electra", 1),
    ("plm", "xlnet", 1),
]


def make_block(kind, causal):
    """One block, or as many as it takes for the architecture to show itself."""
    config = t4r.session_config(
        kind,
        d_model=WIDTH,
        n_head=2,
        n_layer=KINDS[kind].layers,
        # Room for the padding that tests add.
        max_length=MAX_LENGTH + 4,
        dropout=0.0,
        **KINDS[kind].small,
    )
    return t4r.TransformerBlock(config, causal=causal)


def make_model(
    scheme="mlm", body="xlnet", tied=True, memory=None, schema=SCHEMA, **head
):
    features = t4r.SequenceEmbeddingFeatures(
        schema,
        d_output=WIDTH,
        embedding_dim=12,
        # Wide enough that an untrained model tells sessions apart.
        embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0),
    )
    inputs = schema.inputs()
    x, table = features(inputs)
    more = {}
    if scheme.startswith("clm"):
        layer = t4r.CausalLanguageModeling(last_only=scheme == "clm-last")
        x, targets = layer(x, inputs[schema.item_id])
    elif scheme in ("mlm", "rtd"):
        x, targets = t4r.MaskedLanguageModeling(rate=0.3)(x, inputs[schema.item_id])
    else:
        layer = t4r.PermutationLanguageModeling(0.3, permute_all=scheme == "plm-all")
        x, targets, more["visible"] = layer(x, inputs[schema.item_id])
    block = make_block(body, causal=scheme.startswith("clm"))
    items = inputs[schema.item_id]
    if not tied:
        table, head["cardinality"] = None, schema[schema.item_id].cardinality
    if scheme == "rtd":
        scores, replaced = t4r.GeneratorHead(**head)(
            block(x, **more), targets, table, items
        )
        read, _ = features({**inputs, schema.item_id: replaced})
        scores = t4r.ReplacedTokenDetection()(scores, block(read), replaced, items)
    else:
        scores = t4r.NextItemHead(**head)(block(x, **more), targets, table)
    if memory:
        layer = t4r.TransitionMemory(schema)
        sessions = t4r.KerasSequenceLoader(random_sessions(64, seed=9), schema, 16)
        scores = layer.update_state(sessions)(scores, items)
    model = t4r.SessionModel(inputs, scores)
    model.compile(
        keras.optimizers.Adam(1e-2),
        metrics=[t4r.metrics.NDCG(4), t4r.metrics.Recall(4), t4r.metrics.MRR(ITEMS)],
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


def train(kind):
    """A model trained on random sessions from a fixed seed, and its losses."""
    keras.utils.set_random_seed(11)
    model = make_model(*kind)
    # All batches of one shape, for which one graph is traced.
    sessions = random_sessions(512, seed=5)
    loader = t4r.KerasSequenceLoader(sessions, SCHEMA, 64, seed=4, bucket=False)
    if model.memory:
        model.memory.update_state(loader)
    return model, model.fit(loader, epochs=8, verbose=0).history["loss"]


def _params():
    for kind in GRID:
        marks = [pytest.mark.backends] if kind in SORTS else []
        yield pytest.param(kind, id="-".join(map(str, kind)), marks=marks)


@pytest.fixture(scope="module", params=list(_params()))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind):
    keras.utils.set_random_seed(3)
    return make_model(*kind)


@pytest.fixture
def one_of_a_sort(kind):
    if kind not in SORTS:
        pytest.skip("shown by one body of each sort")


@pytest.fixture(scope="module")
def trained(kind):
    """`(model, losses, weights)`, the model and its weights after `train`."""
    model, losses = train(kind)
    return model, losses, model.get_weights()


@pytest.fixture
def build():
    """The helpers above, for tests: build.model(…), build.sessions(…), …"""
    from types import SimpleNamespace

    return SimpleNamespace(
        model=make_model,
        train=train,
        sessions=random_sessions,
        batch=batch,
        block=make_block,
        schema=SCHEMA,
        items=ITEMS,
        max_length=MAX_LENGTH,
        width=WIDTH,
    )
