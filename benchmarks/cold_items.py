"""Items that nobody has clicked: how well their content finds who clicks them next.

    python benchmarks/cold_items.py ml-100k
    python benchmarks/cold_items.py s3rec

The folder holds `ml-100k.inter.gz` and `ml-100k.item.gz` (RecBole's), or
`Beauty.txt.gz` and `Beauty_item2attributes.json.gz` (S3-Rec's). A tenth of the items,
drawn at random, is taken out of all sessions that are trained on. Asked for is each
event of such an item, after the other events before it: the cold items are ranked by
the score that their content gives, among themselves, so that chance is known. Beside it
stand the mean number of clicks of the known items that share an attribute, and, which
nobody has, how often the cold items will have been clicked in the end.
"""

import argparse
import csv
import gzip
import json
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa

import keras_t4r as t4r

LENGTH, WIDTH = 50, 64


def movies(folder):
    """Users' items, oldest first, and the attributes of each item."""
    with gzip.open(folder / "ml-100k.inter.gz", "rt") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    users = {}
    for row in sorted(rows, key=lambda row: float(row["timestamp:float"])):
        users.setdefault(row["user_id:token"], []).append(row["item_id:token"])
    with gzip.open(folder / "ml-100k.item.gz", "rt") as lines:
        attributes = {
            row["item_id:token"]: [
                *row["class:token_seq"].split(),
                f"of {row['release_year:token'][:3]}0",
            ]
            for row in csv.DictReader(lines, delimiter="\t")
        }
    return list(users.values()), attributes


def beauty(folder):
    """The same of Beauty."""
    with gzip.open(folder / "Beauty.txt.gz", "rt") as lines:
        users = [line.split()[1:] for line in lines]
    with gzip.open(folder / "Beauty_item2attributes.json.gz", "rt") as file:
        return users, json.load(file)


def encoded(users, attributes):
    """By ids from 2 on: users' items, and a bag of attributes an item."""
    raw, users_ids = np.unique(np.concatenate(users), return_inverse=True)
    ends = np.cumsum([len(user) for user in users])[:-1]
    users = np.split(users_ids.astype("int32") + 2, ends)
    bags = [sorted({str(a) for a in attributes.get(item, ())}) for item in raw]
    names = {name: i + 1 for i, name in enumerate(sorted({a for b in bags for a in b}))}
    content = np.zeros((len(raw) + 2, max(map(len, bags))), "int32")
    for item, bag in enumerate(bags):
        content[item + 2, : len(bag)] = [names[a] for a in bag]
    return users, content


def make_model(schema, content, id_dropout):
    inputs = schema.inputs()
    attributes = t4r.ItemAttribute(content, dim=WIDTH, combiner="mean")
    items = t4r.ItemContent(attributes, dim=WIDTH, id_dropout=id_dropout)
    features = t4r.SequenceEmbeddingFeatures(schema, columns={"item_id": items})
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, inputs["item_id"])
    config = t4r.session_config(
        "sasrec", WIDTH, n_layer=2, max_length=LENGTH, dropout=0.2
    )
    head = t4r.NextItemHead(bias=False, normalize=True, temperature=0.07)
    scores = head(t4r.TransformerBlock(config)(x), targets, table)
    model = t4r.SessionModel(inputs, scores)
    model.compile(keras.optimizers.Adam(1e-3), metrics=[])
    return model


def questions(users, cold):
    """Each event of a cold item: the known items before it, and the item."""
    asked = []
    for user in users:
        known = ~np.isin(user, cold)
        for at in np.flatnonzero(~known):
            before = user[:at][known[:at]]
            if len(before):
                asked.append((before[-LENGTH:], user[at]))
    return asked


def show(name, scores, right):
    """Prints how well `(questions, cold items)` rank the columns that are right."""
    own = np.take_along_axis(scores, right[:, None], axis=1)
    # Of equals half are ahead.
    rank = (scores > own).sum(1) + 0.5 * ((scores == own).sum(1) - 1)
    share = rank / (scores.shape[1] - 1)
    print(f"{name:34} {share.mean():8.4f} {(rank < 10).mean():10.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--id-dropout", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    read = movies if (args.folder / "ml-100k.inter.gz").exists() else beauty
    users, content = encoded(*read(args.folder))
    items = np.arange(2, len(content))
    cold = np.random.default_rng(args.seed).permutation(items)[: len(items) // 10]
    column = t4r.ColumnSchema(
        "item_id",
        tags=("item_id", "categorical"),
        domain=t4r.Domain(2, len(content) - 1, "item"),
        value_count=(1, LENGTH + 1),
    )
    schema = t4r.Schema((column,))
    known = [user[~np.isin(user, cold)] for user in users]
    sessions = pa.array([user.tolist() for user in known if len(user) > 1])
    table = pa.table({"item_id": sessions})
    train = t4r.KerasSequenceLoader(
        table, schema, 128, max_length=LENGTH, seed=args.seed
    )
    model = make_model(schema, content, args.id_dropout)
    model.fit(train, epochs=args.epochs, verbose=0)
    asked = questions(users, cold)
    right = np.searchsorted(np.sort(cold), [item for _, item in asked])
    print(f"{len(cold)} of {len(items)} items held out, {len(asked)} questions")
    print(f"{'':34} {'rank / n':>8} {'Recall@10':>10}")
    print(
        f"{'chance; clicks so far, which are 0':34} {0.5:8.4f} {10 / len(cold):10.4f}"
    )
    counts = np.bincount(np.concatenate(known), minlength=len(content))
    shared = np.zeros(len(content))
    for item in cold:
        alike = np.isin(content, content[item][content[item] > 0]).any(1)
        shared[item] = counts[alike & (counts > 0)].mean() if alike.any() else 0
    ordered = np.sort(cold)
    show("clicks of what is like it", np.tile(shared[ordered], (len(asked), 1)), right)
    scores = []
    for start in range(0, len(asked), 512):
        rows = np.zeros((512, LENGTH), "int32")
        part = asked[start : start + 512]
        for row, (before, _) in zip(rows, part, strict=False):
            row[: len(before)] = before
        found = model.predict_on_batch({"item_id": rows})
        scores.append(keras.ops.convert_to_numpy(found)[: len(part), ordered])
    show("content, by the network", np.concatenate(scores), right)
    counts = np.bincount(np.concatenate(users), minlength=len(content))
    show(
        "clicks to come (known to none)",
        np.tile(counts[ordered], (len(asked), 1)),
        right,
    )


if __name__ == "__main__":
    main()
