"""3. A model → a real Triton that answers in raw item ids.

Where there is no Triton (its wheel ends at Python 3.12), the SavedModel that it would
serve answers in this process.

python examples/serve.py sessions/ model.keras models/
"""

import argparse
import contextlib
import sys
import time
from pathlib import Path

import keras

import keras_t4r as t4r
from keras_t4r.serving import (
    TritonClient,
    TritonServer,
    export_tensorflow_ensemble,
)


def serve_and_ask(model, etl, repository, requests, k=10, repeats=20):
    """Yields each request's answer and its median latency in milliseconds."""
    export_tensorflow_ensemble(model, etl, "t4rec", repository, k=k, overwrite=True)
    server = TritonServer(repository)
    try:
        server.start()
    except ImportError as error:
        print(f"No Triton here, so the SavedModel answers: {error}", file=sys.stderr)
        ask = saved_model(model, etl, Path(repository).parent / "saved_model", k)
        yield from timed(ask, requests, repeats)
        return
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        client = stack.enter_context(TritonClient(server.grpc_url, protocol="grpc"))
        yield from timed(
            lambda rows: client.recommend("t4rec", rows), requests, repeats
        )


def timed(ask, requests, repeats):
    for rows in requests:
        answer, times = None, []
        for _ in range(repeats):
            start = time.perf_counter()
            answer = ask(rows)
            times.append(1e3 * (time.perf_counter() - start))
        yield rows, answer, sorted(times)[len(times) // 2]


def saved_model(model, etl, path, k):
    """A function from raw rows to answers as Triton's, by the SavedModel alone."""
    import tensorflow as tf

    t4r.export_saved_model(model, path, k=k, overwrite=True)
    loaded = tf.saved_model.load(str(path))
    session, item = etl.config.session, etl.config.item

    def ask(rows):
        sessions = etl.transform(rows)
        (batch,) = t4r.KerasSequenceLoader(
            sessions, model.schema, len(sessions), shuffle=False
        )[0]
        inputs = {name: tf.constant(x) for name, x in batch.items()}
        found = loaded.signatures["serving_default"](**inputs)
        items = found[item].numpy()
        columns = sessions[session].to_pylist(), items.tolist(), found["scores"].numpy()
        return [
            {session: key, item: list(map(as_text, best)), "scores": scores.tolist()}
            for key, best, scores in zip(*columns, strict=True)
        ]

    return ask


def as_text(item):
    return item.decode() if isinstance(item, bytes) else item


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("model")
    parser.add_argument("repository")
    arguments = parser.parse_args()
    etl = t4r.SessionETL.load(f"{arguments.folder}/workflow")
    model = keras.saving.load_model(arguments.model)
    # Rows as they stand in the log: here two clicks of a session that is under way.
    items = etl.vocabulary(etl.config.item).values.to_list()
    rows = [
        {
            "session_id": 1,
            "timestamp": f"2014-04-07T10:5{minute}:00.000Z",
            "item_id": item,
            "category": "0",
        }
        for minute, item in enumerate(items[:2])
    ]
    for _, answer, milliseconds in serve_and_ask(
        model, etl, arguments.repository, [rows]
    ):
        print(answer, f"({milliseconds:.1f} ms)")
