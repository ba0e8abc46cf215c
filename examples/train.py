"""2. Sessions → a model, fitted day by day, evaluated on the day after.

python examples/train.py sessions/ model.keras
"""

import argparse

import keras
from transformers import XLNetConfig

import keras_t4r as t4r
from keras_t4r.training.baselines import standard_baselines


def make_model(schema, width=64, learning_rate=2e-3, forward=False):
    """One-directional XLNet that predicts each event from those before it.

    `forward` is for logs whose sessions have a direction, as on news: what led to an
    item does then not follow it. The Markov baselines tell which kind a log is.
    """
    features = t4r.SequenceEmbeddingFeatures(
        schema,
        d_output=width,
        embedding_dim=width,
        continuous_projection=16,
        # Else the numbers, which are large beside new embeddings, drown the items.
        layer_norm=True,
        dropout=0.2,
    )
    inputs = schema.inputs()
    items = inputs[schema.item_id]
    x, table = features(inputs)
    x, targets = t4r.CausalLanguageModeling()(x, items)
    body = XLNetConfig(
        d_model=width,
        n_head=4,
        n_layer=2,
        d_inner=4 * width,
        dropout=0.2,
        # Sessions are few and short: the default 0.02, for text, learns too slowly.
        initializer_range=0.1,
    )
    x = t4r.TransformerBlock(body, causal=True)(x)
    scores = t4r.NextItemHead(normalize=True, temperature=0.07)(x, targets, table)
    # On a log of this size the network alone loses to counting; together they win.
    memory = t4r.TransitionMemory(
        schema, half_life=4, bidirectional=not forward, span=1 if forward else 3
    )
    scores = memory(scores, items)
    # The ETL dropped repeats, so the last item is never the next.
    scores = t4r.NoRepeat()(scores, items)

    model = t4r.SessionModel(inputs, scores)
    model.compile(
        keras.optimizers.Adam(learning_rate),
        metrics=[t4r.metrics.NDCG(20), t4r.metrics.Recall(20), t4r.metrics.MRR(20)],
    )
    return model


def train(folder, epochs=4, batch_size=64, forward=False, **arguments):
    """Fits on each day and those before, evaluates on the next, beside baselines."""
    arguments = {"replay": 10, **arguments}
    schema = t4r.Schema.load(f"{folder}/schema.pbtxt")
    keras.utils.set_random_seed(1)
    model = make_model(schema, forward=forward)
    rate = float(model.optimizer.learning_rate)
    decay = keras.callbacks.LearningRateScheduler(
        lambda epoch: rate * (1 - 0.9 * epoch / epochs)
    )
    report = t4r.fit_windows(
        model,
        folder,
        epochs=epochs,
        batch_size=batch_size,
        callbacks=[decay],
        baselines=standard_baselines(schema),
        **arguments,
    )
    return model, report


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("model")
    arguments = parser.parse_args()
    model, report = train(arguments.folder)
    print(report)
    model.save(arguments.model)
