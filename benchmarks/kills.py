"""Kills writers at random moments, runs them again, and compares with an unkilled run.

python benchmarks/kills.py [--write 100] [--windows 50] [--export 30] [--seed 0]

Each trial forks a child that does the job in a folder of its own and dies by SIGKILL
after a random part of the time that the whole job takes; then another child does the
job again. Printed are how many of the ends equal that of an unkilled run to the bit,
and how many left something behind.
"""

import argparse
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_t4r as t4r

ITEMS, SESSIONS, CLICKS = 300, 4000, 30_000


def log():
    rng = np.random.default_rng(0)
    return {
        "s": rng.integers(0, SESSIONS, CLICKS),
        "t": 1_700_000_000 + rng.integers(0, 4 * 86_400, CLICKS),
        "i": rng.integers(0, ITEMS, CLICKS),
        "x": rng.lognormal(size=CLICKS),
    }


def etl(rows_in_memory=5_000):
    options = {"time_unit": "s", "rows_in_memory": rows_in_memory}
    return t4r.SessionETL("s", "t", "i", continuous=["x"], **options)


def make_model(schema):
    keras.utils.set_random_seed(3)
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, d_output=8, embedding_dim=8)(
        inputs
    )
    x, targets = t4r.CausalLanguageModeling()(x, inputs["i"])
    x = keras.layers.Dense(8)(x)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    model.compile("adam", metrics=[t4r.metrics.NDCG(20)])
    return model


class Average(keras.callbacks.Callback):
    """Holds a state of its own, and acts on it."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
        rate = 1e-3 * sum(self.losses) / self.losses[0] / len(self.losses)
        self.model.optimizer.learning_rate.assign(rate)


def write(folder, shared):
    etl().write(log(), folder / "sessions", overwrite=True, progress=False)


def windows(folder, shared):
    schema = t4r.Schema.load(shared / "sessions" / "schema.pbtxt")
    model = make_model(schema)
    stop = keras.callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True)
    report = t4r.fit_windows(
        model,
        shared / "sessions",
        epochs=3,
        checkpoint=folder / "checkpoint",
        callbacks=[Average(), stop],
        verbose=False,
    )
    weights = {str(n): w for n, w in enumerate(model.get_weights())}
    np.savez(folder / "weights.npz", **weights)
    report.save(folder / "report.json")
    shutil.rmtree(folder / "checkpoint")


def export(folder, shared):
    model = make_model(t4r.Schema.load(shared / "sessions" / "schema.pbtxt"))
    # Twice, as a service that is retrained does: what was there stays until the end.
    workflow = t4r.SessionETL.load(shared / "sessions" / "workflow")
    for k in (5, 7):
        t4r.export_tensorflow_ensemble(
            model, workflow, "shop", folder / "models", k=k, overwrite=True
        )


JOBS = {"write": write, "windows": windows, "export": export}


def in_a_child(run, *arguments, die_after=None):
    """Runs a function in a child; returns the seconds, or `None` where it died."""
    child = os.fork()
    if not child:
        status = 1
        try:
            run(*arguments)
            status = 0
        finally:
            os._exit(status)
    started = time.perf_counter()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status:
                raise RuntimeError(f"{run.__name__} failed, with status {status}.")
            return time.perf_counter() - started
        if die_after is not None and time.perf_counter() - started > die_after:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.002)


def contents(folder):
    """What lies in a folder: digest by name, hidden files too.

    Of a SavedModel the names only: TensorFlow writes the same model in other bytes.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(folder))
            same = "model.savedmodel" not in name
            data = path.read_bytes() if same and not name.endswith(".npz") else b""
            if name.endswith(".npz"):
                with np.load(path) as arrays:
                    data = b"".join(arrays[n].tobytes() for n in sorted(arrays))
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def trial(job, place, shared, expected, die_after):
    folder = Path(tempfile.mkdtemp(dir=place))
    died = in_a_child(job, folder, shared, die_after=die_after) is None
    # What has its name is whole.
    if job is write and (folder / "sessions").exists():
        seen = contents(folder / "sessions")
        assert {f"sessions/{n}": v for n, v in seen.items()} == expected
    in_a_child(job, folder, shared)
    found = contents(folder)
    same = {n for n in found if found[n] == expected.get(n)} == set(expected)
    left = sorted(set(found) - set(expected))
    hidden = [p for p in folder.rglob(".*.new-*")]
    shutil.rmtree(folder)
    return died, same, bool(left or hidden)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=int, default=100)
    parser.add_argument("--windows", type=int, default=50)
    parser.add_argument("--export", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = vars(parser.parse_args())
    rng = np.random.default_rng(arguments["seed"])
    place = Path(tempfile.mkdtemp(prefix="keras_t4r-kills-"))
    shared = place / "shared"
    shared.mkdir()
    in_a_child(write, shared, shared)
    print(f"{'job':<10}{'kills':>8}{'same end':>10}{'leftovers':>11}")
    bad = 0
    for name, job in JOBS.items():
        whole = place / f"whole-{name}"
        whole.mkdir()
        seconds = in_a_child(job, whole, shared)
        expected, kills, same, left = contents(whole), 0, 0, 0
        while kills < arguments[name]:
            moment = rng.uniform(0, seconds)
            died, equal, something = trial(job, place, shared, expected, moment)
            if died:
                kills, same, left = kills + 1, same + equal, left + something
        bad += kills - same + left
        print(f"{name:<10}{kills:>8}{same:>10}{left:>11}", flush=True)
    shutil.rmtree(place)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
