"""Every scheme on a user log: leave one out, ranked among all items.

    python benchmarks/schemes.py s3rec/Beauty.txt.gz
    python benchmarks/schemes.py s3rec/Beauty.txt.gz --schemes clm:llama mlm --epochs 60

The file has a line a user, `user item item …`, oldest first. The last item of each is
the test, the one before it is left out of training too, as the papers have it. Beside
the schemes stand popularity and the transition counts. Items are the only feature.
The learning rate warms up over a twentieth of the steps and falls to zero as a cosine;
there is no stopping early and no choice of an epoch by the test's figures.
"""

import argparse
import gzip
import time

import keras
import numpy as np
import pyarrow as pa

import keras_t4r as t4r
from keras_t4r.training import evaluate_scorer
from keras_t4r.training.baselines import Markov, Popularity


def read(path, max_length):
    """The schema, and tables of the sessions to train on and to test on."""
    open_file = gzip.open if path.endswith(".gz") else open
    with open_file(path, "rt") as lines:
        users = [np.array(line.split()[1:], "int64") for line in lines]
    # Ids from most to least frequent, 0 for padding, 1 for unknown.
    raw, counts = np.unique(np.concatenate(users), return_counts=True)
    rank = np.empty(len(raw), "int32")
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(raw))
    users = [rank[np.searchsorted(raw, u)] + 2 for u in users]
    schema = t4r.Schema(
        (
            t4r.ColumnSchema(
                "item_id",
                tags=("item_id", "categorical"),
                domain=t4r.Domain(2, len(raw) + 1, "item"),
                value_count=(1, max_length + 1),
            ),
        )
    )

    def table(sequences):
        items = pa.array(list(sequences), pa.list_(pa.int32()))
        return pa.table({"item_id": items})

    train = table(u[:-2] for u in users if len(u) > 3)
    return schema, train, table(users)


# Each scheme with the body that it is tried with, unless told otherwise.
SCHEMES = {
    "clm": "sasrec",
    "clm-last": "sasrec",
    "mlm": "gpt2",
    "plm": "xlnet",
    "rtd": "gpt2",
}


def make_model(scheme, body, schema, width, max_length, learning_rate, steps):
    features = t4r.SequenceEmbeddingFeatures(schema, embedding_dim=width)
    inputs = schema.inputs()
    items = inputs[schema.item_id]
    (x, table), more = features(inputs), {}
    if scheme.startswith("clm"):
        x, targets = t4r.CausalLanguageModeling(scheme == "clm-last")(x, items)
    elif scheme == "plm":
        layer = t4r.PermutationLanguageModeling(permute_all=True, last_rate=0.2)
        x, targets, more["visible"] = layer(x, items)
    else:
        x, targets = t4r.MaskedLanguageModeling(rate=0.3, last_rate=0.2)(x, items)
    config = t4r.session_config(
        body, width, n_head=4, n_layer=2, max_length=max_length, dropout=0.2
    )
    block = t4r.TransformerBlock(config, causal=scheme.startswith("clm"))
    scale = {"normalize": True, "temperature": 0.07}
    if scheme == "rtd":
        head = t4r.GeneratorHead(**scale)
        scores, replaced = head(block(x), targets, table, items)
        read, _ = features({schema.item_id: replaced})
        scores = t4r.ReplacedTokenDetection(1.0)(scores, block(read), replaced, items)
    else:
        scores = t4r.NextItemHead(**scale)(block(x, **more), targets, table)
    model = t4r.SessionModel(inputs, scores)
    warmup = steps // 20
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warmup, warmup_target=learning_rate, warmup_steps=warmup
    )
    model.compile(
        keras.optimizers.Adam(rate),
        metrics=[t4r.metrics.NDCG(10), t4r.metrics.Recall(10)],
    )
    return model


def show(name, logs, note=""):
    ndcg, recall = logs["ndcg_10"], logs["recall_10"]
    print(f"{name:24s}  {ndcg:.4f}   {recall:.4f}{note}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument(
        "--schemes",
        nargs="+",
        default=list(SCHEMES),
        help=f"out of {', '.join(SCHEMES)}; with another body as SCHEME:BODY",
    )
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--max-length", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    schema, train, users = read(args.file, args.max_length)
    test = t4r.KerasSequenceLoader(
        users, schema, 512, target="last", max_length=args.max_length
    )
    print(f"{users.num_rows} users, {schema['item_id'].cardinality - 2} items")
    print(f"{'':24s}  NDCG@10  Recall@10")
    metrics = [t4r.metrics.NDCG(10), t4r.metrics.Recall(10)]
    for name, baseline in {
        "popularity": Popularity(schema),
        "Markov, 3 steps": Markov(schema),
    }.items():
        logs = evaluate_scorer(baseline.update(train), test, metrics)
        print(
            f"{name:24s}  {logs['ndcg_10']:.4f}   {logs['recall_10']:.4f}", flush=True
        )
    for scheme in args.schemes:
        scheme, _, body = scheme.partition(":")
        body = body or SCHEMES[scheme]
        keras.utils.set_random_seed(args.seed)
        loader = t4r.KerasSequenceLoader(
            train, schema, args.batch_size, max_length=args.max_length, seed=args.seed
        )
        model = make_model(
            scheme,
            body,
            schema,
            args.width,
            args.max_length,
            args.learning_rate,
            steps=args.epochs * len(loader),
        )
        start = time.perf_counter()
        model.fit(loader, epochs=args.epochs, verbose=0)
        seconds = time.perf_counter() - start
        logs = model.evaluate(test, verbose=0, return_dict=True)
        show(
            f"{scheme}, {body}",
            logs,
            f"   ({args.epochs} epochs, {seconds:.0f} s)",
        )


if __name__ == "__main__":
    main()
