"""3. A model → a real Triton that answers in raw item ids.

python examples/serve.py sessions/ model.keras models/
"""

import argparse
import time

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
    with (
        TritonServer(repository) as server,
        TritonClient(server.grpc_url, protocol="grpc") as client,
    ):
        for rows in requests:
            answer, times = None, []
            for _ in range(repeats):
                start = time.perf_counter()
                answer = client.recommend("t4rec", rows)
                times.append(1e3 * (time.perf_counter() - start))
            yield rows, answer, sorted(times)[len(times) // 2]


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
