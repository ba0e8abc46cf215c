"""2. Sessions → a model, fitted day by day, evaluated on the day after.

python examples/train.py sessions/ model.keras
"""

import argparse

import keras
from transformers import XLNetConfig

import keras_t4r as t4r
from keras_t4r.training.baselines import standard_baselines


def make_model(schema, width=64, learning_rate=2e-3):
    """XLNet, trained by hiding items and naming them."""
    features = t4r.SequenceEmbeddingFeatures(
        schema, d_output=width, embedding_dim=width
    )
    inputs = schema.inputs()
    x = features(inputs)
    x, targets = t4r.MaskedLanguageModeling(rate=0.3)(x, inputs[schema.item_id])
    body = XLNetConfig(
        d_model=width, n_head=4, n_layer=2, d_inner=4 * width, dropout=0.2
    )
    x = t4r.TransformerBlock(body)(x)
    outputs = t4r.NextItemHead(
        features.item_embedding, normalize=True, temperature=0.07
    )(x, targets)

    model = t4r.SessionModel(inputs, outputs)
    model.compile(
        keras.optimizers.Adam(learning_rate),
        metrics=[t4r.metrics.NDCG(20), t4r.metrics.Recall(20), t4r.metrics.MRR(20)],
    )
    return model


def train(folder, epochs=10, batch_size=128, **arguments):
    """Fits on each day and evaluates on the next, beside the baselines."""
    schema = t4r.Schema.load(f"{folder}/schema.pbtxt")
    keras.utils.set_random_seed(1)
    model = make_model(schema)
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
