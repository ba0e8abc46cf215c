"""XLNet with masked items on the days of the Transformers4Rec tutorial.

    python benchmarks/tutorial.py t4rec_yoochoose

The folder holds the tutorial's `schema_demo.pb` and `preproc_sessions_by_day/`, as
they are. Day by day: fits on `train` of a day, going on from the day before, and
evaluates on `valid` of the next, over the whole catalogue. Beside it stand what it
answers without the memory's counts and without copying, the count that the network is
measured against, and the standard baselines.
"""

import argparse

import keras
from transformers import XLNetConfig

import keras_t4r as t4r
from keras_t4r.training.baselines import Markov, standard_baselines

MAX_LENGTH = 20


def make_model(schema, width=96, learning_rate=2e-3):
    features = t4r.SequenceEmbeddingFeatures(
        schema, embedding_dim=width, max_length=MAX_LENGTH
    )
    inputs = schema.inputs()
    items = inputs[schema.item_id]
    x, table = features(inputs)
    x, targets = t4r.MaskedLanguageModeling(rate=0.4, last_rate=0.3)(x, items)
    body = XLNetConfig(
        d_model=width,
        n_head=4,
        n_layer=2,
        d_inner=4 * width,
        dropout=0.1,
        initializer_range=0.1,
    )
    x = t4r.TransformerBlock(body)(x)
    head = t4r.NextItemHead(
        normalize=True,
        temperature=0.07,
        first_id=schema[schema.item_id].first_id,
    )
    scores = t4r.CopyMechanism()(head(x, targets, table), items)
    scores = t4r.TransitionMemory(schema)(scores, items)
    model = t4r.SessionModel(inputs, t4r.NoRepeat()(scores, items))
    model.compile(
        keras.optimizers.Adam(learning_rate),
        metrics=[t4r.metrics.NDCG(20), t4r.metrics.Recall(20), t4r.metrics.MRR(20)],
    )
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--replay", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    schema = t4r.Schema.load(f"{arguments.folder}/schema_demo.pb")
    # The item alone: the other columns did not help.
    schema = schema.select([schema.item_id])
    model = make_model(schema)
    rate, epochs = float(model.optimizer.learning_rate), arguments.epochs
    report = t4r.fit_windows(
        model,
        f"{arguments.folder}/preproc_sessions_by_day",
        schema=schema,
        windows=[178, 179, 180, 181],
        train="train",
        evaluate="valid",
        epochs=epochs,
        batch_size=arguments.batch_size,
        max_length=MAX_LENGTH,
        replay=arguments.replay,
        callbacks=[
            keras.callbacks.LearningRateScheduler(
                lambda epoch: rate * (1 - 0.9 * epoch / epochs)
            )
        ],
        baselines={
            "plain count": Markov(schema, fading=1.0, normalize=0.0, own_items=1.5),
            **standard_baselines(schema),
        },
        seed=arguments.seed,
    )
    print(report)


if __name__ == "__main__":
    main()
