"""Sessions, loaders and models of a case, and the words to ask them with."""

import functools

import keras
import numpy as np
import polars as pl
import pyarrow as pa
from body_kinds import KINDS
from keras import ops
from seeds import set_seed
from session_cases import FACTORS

import keras_t4r as t4r
from keras_t4r.schema.encoded_ids import mark_encoded

WIDTH, ITEMS, CATEGORIES = 16, 40, 5

# Data


@functools.lru_cache
def schema_of(case, bought=False):
    """What the columns are; `bought`, a target, is for loaders alone."""
    first, length = case.first_id, (1, case.schema_length)

    def ids(name, count, tags, **more):
        domain = t4r.Domain(first, count + first - 1, name)
        return t4r.ColumnSchema(more.pop("column"), "int64", tags, domain, **more)

    columns = (
        ids("item", ITEMS, ("item_id", "categorical"), **_list("item_id", length)),
        ids("category", CATEGORIES, ("categorical",), **_list("last_category", length)),
        t4r.ColumnSchema("age", "float32", ("continuous",), None, length),
        ids("country", 3, ("context", "categorical"), column="country"),
        t4r.ColumnSchema("session_id", tags=("session_id",)),
    )
    if bought:
        columns += (t4r.ColumnSchema("bought", "float32", ("target",)),)
    return t4r.Schema(columns)


def _list(column, length):
    return {"column": column, "value_count": length}


@functools.lru_cache
def vocabularies_of(case):
    """Raw values of items and categories, in an order that is not that of the ids."""
    if case.vocabulary == "none":
        return {}
    rng = np.random.default_rng(0)
    found = {}
    for column, count in {"item_id": ITEMS, "last_category": CATEGORIES}.items():
        values = rng.permutation(count).tolist()
        if case.vocabulary == "text":
            values = [f"{column}-{value}" for value in values]
        found[column] = t4r.Vocabulary(values, first_id=case.first_id, name=column)
    return found


def random_sessions(case, count, seed=0, shortest=2):
    """A table of independent random sessions: there is nothing to learn in it.

    An event's category is that of its item, so whoever sees the category of the event
    to be predicted knows more than chance.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, case.schema_length + 1, count)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype("int32"))
    total, first = int(lengths.sum()), case.first_id
    items = rng.integers(first, ITEMS + first, total).astype("int32")

    def lists(values):
        return pa.ListArray.from_arrays(offsets, pa.array(values))

    return pa.table(
        {
            "session_id": np.arange(count) + 1000,
            "item_id": lists(items),
            "last_category": lists(items % CATEGORIES + first),
            "age": lists(rng.normal(size=total).astype("float32")),
            "country": pa.array(rng.integers(first, 3 + first, count).astype("int32")),
            "bought": pa.array(rng.integers(0, 2, count).astype("float32")),
        }
    )


def events(table, part):
    """The same sessions, of each only a part of its events, which a slice says."""
    columns = {name: table[name] for name in table.column_names}
    for name, column in columns.items():
        if pa.types.is_list(column.type):
            rows = [row[part] for row in column.to_pylist()]
            columns[name] = pa.array(rows, column.type)
    return pa.table(columns)


def loader_of(case, table, batch_size, target=None, **options):
    """A loader as the case has it."""
    if case.loader_length:
        options = {"max_length": case.loader_length, **options}
    if case.targets:
        options["targets"] = ["bought"]
    if target and case.outputs == "category":
        options["next_columns"] = ["item_id", "last_category"]
    return t4r.KerasSequenceLoader(
        table,
        schema_of(case, bought=case.targets),
        batch_size,
        target=target,
        columns=schema_of(case).features.names,
        **options,
    )


def batch(case, count=6, seed=0, shortest=2):
    """Random sessions as one padded batch of all their events."""
    table = random_sessions(case, count, seed, shortest)
    return t4r.KerasSequenceLoader(
        table, schema_of(case), count, shuffle=False, bucket=False
    )[0][0]


# Models


@keras.saving.register_keras_serializable(package="promises")
class WithContent(keras.layers.Layer):
    """A table computed from ids and content: `e_i + W c_i`."""

    def build(self, shape):
        rows, dim = shape
        normal = keras.initializers.RandomNormal(stddev=1.0)
        self.content = self.add_weight(
            name="content", shape=(rows, 3), initializer=normal, trainable=False
        )
        self.kernel = self.add_weight(name="kernel", shape=(3, dim), initializer=normal)

    def call(self, table):
        content = ops.matmul(self.content, self.kernel)
        return ops.convert_to_tensor(table) + content


@keras.saving.register_keras_serializable(package="promises")
class Pairwise(t4r.losses.NextItemLoss):
    """A user's own: the target above the items that follow it in the catalogue."""

    def __init__(self, negatives=4):
        self.negatives = negatives

    def call(self, hidden, table, bias, targets, weights):
        others = (targets[:, None] + 1 + ops.arange(self.negatives)) % table.shape[0]

        def score(ids):
            vectors = ops.cast(ops.take(table, ids, axis=0), "float32")
            return ops.sum(hidden[:, None] * vectors, -1) + ops.take(bias, ids)

        margin = score(targets[:, None]) - score(others)
        return ops.sum(weights * ops.mean(ops.softplus(-margin), axis=1))

    def get_config(self):
        return {"negatives": self.negatives}


def _counts(case):
    """How often each id was seen."""
    return 1.0 + np.arange(case.first_id + ITEMS)


def _mixed(case):
    in_batch = t4r.losses.samplers.InBatchSampler(_counts(case))
    return t4r.losses.samplers.MixedSampler(
        [in_batch, t4r.losses.samplers.LogUniformSampler(8)]
    )


def _popular(case):
    return t4r.losses.samplers.PopularitySampler(_counts(case), negatives=8)


LOSSES = {
    "full": lambda case: t4r.losses.FullSoftmax(),
    "sampled": lambda case: t4r.losses.SampledSoftmax(16),
    "users": lambda case: Pairwise(),
    "chunked": lambda case: t4r.losses.FullSoftmax(0.1, chunks="items"),
    "bce": lambda case: t4r.losses.BinaryCrossEntropy(
        t4r.losses.samplers.UniformSampler(1, per_target=True)
    ),
    "gbce": lambda case: t4r.losses.GeneralizedBinaryCrossEntropy(8),
    "bpr": lambda case: t4r.losses.BPRMax(8),
    "top1": lambda case: t4r.losses.TOP1Max(8),
    "sce": lambda case: t4r.losses.ScalableCrossEntropy(3, 8, 6),
    "popular": lambda case: t4r.losses.SampledSoftmax(_popular(case)),
    "mixed": lambda case: t4r.losses.SampledSoftmax(_mixed(case)),
    "hardest": lambda case: t4r.losses.SampledSoftmax(16, hardest=4),
}

DRAWN_FOR_EACH_TARGET = ("bce", "sce")


def _vectors(case, rows):
    """Given vectors by id, which tell any two apart."""
    vectors = np.random.default_rng(8).normal(size=(rows, 6)).astype("float32")
    vectors[: case.first_id] = 0
    return vectors


def _pretrained(case, schema):
    item = schema[schema.item_id]
    vectors = _vectors(case, item.cardinality)
    return {item.name: t4r.PretrainedEmbedding(vectors, adaptor=12)}


def _content(case, schema):
    item = schema[schema.item_id]
    ids = np.arange(item.cardinality)
    category = np.where(ids < case.first_id, 0, 1 + ids % CATEGORIES)
    content = [
        t4r.PretrainedEmbedding(_vectors(case, item.cardinality)),
        t4r.ItemAttribute(category, dim=4),
    ]
    return {item.name: t4r.ItemContent(content, dim=12, id_dropout=0.2, seed=6)}


def _soft(case, schema):
    return {"age": t4r.SoftEmbedding(n=5, dim=4)}


# Arguments of the features, beside those that all cases have.
FEATURES = {
    "plain": lambda case, schema: {},
    "soft": lambda case, schema: {"columns": _soft(case, schema)},
    "pretrained": lambda case, schema: {"columns": _pretrained(case, schema)},
    "content": lambda case, schema: {"columns": _content(case, schema)},
    "gated": lambda case, schema: {"aggregation": "gated", "layer_norm": True},
}


# Where an event sees a window around it, all of the longest session, on either side.
_WHOLE = {"longformer": {"attention_window": 32}}


def make_block(kind, causal):
    """One block, or as many as it takes for the architecture to show itself."""
    config = t4r.session_config(
        kind,
        d_model=WIDTH,
        n_head=2,
        n_layer=KINDS[kind].layers,
        # Room for the padding that tests add.
        max_length=max(FACTORS["schema_length"]) + 4,
        dropout=0.0,
        **{**KINDS[kind].small, **_WHOLE.get(kind, {})},
    )
    return t4r.TransformerBlock(config, causal=causal)


def make_scheme(scheme):
    if scheme.startswith("clm"):
        return t4r.CausalLanguageModeling(last_only=scheme == "clm-last")
    if scheme.startswith("plm"):
        return t4r.PermutationLanguageModeling(0.3, permute_all=scheme == "plm-all")
    return t4r.MaskedLanguageModeling(rate=0.3)


def _between(x):
    """Keras's own layers, and what is no layer at all."""
    more = keras.layers.Dense(x.shape[-1])(ops.gelu(x))
    return keras.layers.LayerNormalization()(x + more)


def make_model(case, schema=None):
    """The model of a case; another schema than the case's has no more outputs."""
    schema = schema or schema_of(case)
    # Wide enough that an untrained model tells sessions apart.
    wide = keras.initializers.RandomNormal(stddev=1.0)
    context_apart = case.context != "features"
    features = t4r.SequenceEmbeddingFeatures(
        schema.without(["country"]) if context_apart else schema,
        d_output=WIDTH,
        embedding_dim=12,
        embeddings_initializer=wide,
        max_length=case.features_length,
        vocabularies=vocabularies_of(case) or None,
        **FEATURES[case.features](case, schema),
    )
    if context_apart:
        read_context = t4r.ContextFeatures(
            schema, ["country"], embedding_dim=4, embeddings_initializer=wide
        )
    block = make_block(case.body, case.causal)
    between = _between if case.nesting == "between" else lambda x: x

    def run(inputs, x, **visible):
        """The body, and what it is told of the session."""
        if not context_apart:
            return block(x, **visible)
        context = read_context(inputs)
        if case.context == "latent-cross":
            little = keras.initializers.RandomNormal(stddev=0.3)
            fusion = t4r.ContextFusion("latent-cross", little)
            return fusion(block(x, **visible), context)
        x = t4r.ContextToken()(x, context, **visible)
        x, visible = (x[0], {"visible": x[1]}) if visible else (x, {})
        return t4r.DropContextToken()(block(x, **visible))

    def encode(inputs):
        x, table = features(inputs)
        ids = inputs[schema.item_id]
        if case.outputs == "category":
            ids = [ids, inputs["last_category"]]
        x, targets, *visible = make_scheme(case.scheme)(between(x), ids)
        targets = targets if isinstance(ids, list) else [targets]
        visible = dict(zip(["visible"], visible, strict=False))
        x = run(inputs, between(x), **visible)
        return [between(x), table, *targets]

    inputs = schema.inputs()
    if case.nesting == "nested":
        fresh = schema.inputs()
        x, table, *targets = keras.Model(fresh, encode(fresh), name="encoder")(inputs)
    else:
        x, table, *targets = encode(inputs)
    options = {"loss": LOSSES[case.loss](case), "first_id": case.first_id}
    if case.table == "own":
        table, options["cardinality"] = None, schema[schema.item_id].cardinality
    elif case.table == "computed":
        table = WithContent()(table)
    items = inputs[schema.item_id]
    if case.scheme == "rtd":
        head = t4r.GeneratorHead(**options)
        scores, replaced = head(x, targets[0], table, items)
        read, _ = features({**inputs, schema.item_id: replaced})
        read = run(inputs, read)
        scores = t4r.ReplacedTokenDetection()(scores, read, replaced, items)
    else:
        scores = t4r.NextItemHead(**options)(x, targets[0], table)
    if case.step == "no-repeat":
        scores = t4r.NoRepeat()(scores, items)
    elif case.step == "memory":
        layer = t4r.TransitionMemory(schema)
        scores = layer(scores, items)
        layer.update_state(loader_of(case, random_sessions(case, 64, seed=9), 16))
    metrics = [t4r.metrics.NDCG(4), t4r.metrics.Recall(4), t4r.metrics.MRR(ITEMS)]
    more = {}
    if case.outputs == "category":
        head = t4r.NextItemHead(
            cardinality=CATEGORIES + case.first_id,
            first_id=case.first_id,
            target="last_category",
        )
        scores = {"item": scores, "category": head(x, targets[1])}
    elif case.outputs == "bought":
        bought = keras.layers.Dense(1, "sigmoid")(t4r.SessionSummary("last")(x))
        scores, more["loss"] = {"item": scores, "bought": bought}, {"bought": "bce"}
    model = t4r.SessionModel(inputs, scores)
    if case.output:
        metrics = {case.output: metrics}
    model.compile(keras.optimizers.Adam(1e-2), metrics=metrics, **more)
    return model


def seeded(case):
    """The model of a case, from a fixed seed."""
    set_seed(3)
    return make_model(case)


def train(case, model):
    """Trains a model on random sessions, in a fixed order; returns its losses."""
    # All batches of one shape, for which one graph is traced.
    sessions = random_sessions(case, 512, seed=5)
    loader = loader_of(case, sessions, 64, seed=4, bucket=False)
    if model.memory:
        model.memory.update_state(loader)
    return model.fit(loader, epochs=8, verbose=0).history["loss"]


def state_of(model):
    """Values of all that a model holds, its random generators too."""
    return [ops.convert_to_numpy(variable) for variable in model.variables]


def put_state(model, state):
    for variable, value in zip(model.variables, state, strict=True):
        variable.assign(value)


# Asking


def infer(model, x, training=False):
    """`model(x, training=…)`; on JAX compiled whole. Operations that are compiled
    one by one, for every shape, take several times as long."""
    return _called(model, x, training, [])[0]


def losses_of(model, x, layers):
    """What layers add to the loss of a batch in training, each a float."""
    losses = _called(model, x, True, layers)[1]
    return [float(ops.convert_to_numpy(loss)) for loss in losses]


def _called(model, x, training, layers):
    if keras.backend.backend() != "jax":
        return model(x, training=training), [sum(layer.losses) for layer in layers]
    import jax

    @jax.jit
    def call(values, x):
        mapping = list(zip(model.variables, values, strict=True))
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            y = model(x, training=training)
            losses = [sum(layer.losses) for layer in layers]
        return y, losses, [scope.get_current_value(v) for v in model.variables]

    y, losses, values = call([v.value for v in model.variables], x)
    put_state(model, values)
    return y, losses


def raw_ids(case, column, ids):
    """What stands in the log for encoded ids, of which there may be lists."""
    if isinstance(ids, list):
        return [raw_ids(case, column, row) for row in ids]
    vocabulary = vocabularies_of(case).get(column)
    return ids if vocabulary is None else vocabulary.values[ids - case.first_id]


def ask(case, model, table, **options):
    """What `recommend` answers, asked for encoded sessions in the case's container."""
    columns = {name: table[name].to_pylist() for name in table.column_names}
    if case.encoded:
        if case.container == "table":
            vocabularies = {k: model.features.vocabulary(k) for k in columns}
            known = {k: v for k, v in vocabularies.items() if v is not None}
            return model.recommend(mark_encoded(table, known), **options)
        options["encoded"] = True
    else:
        columns = {name: raw_ids(case, name, v) for name, v in columns.items()}
    make = {"dict": dict, "table": pa.table, "polars": pl.DataFrame}[case.container]
    return model.recommend(make(columns), **options)
