import sys
import time
from itertools import pairwise
from pathlib import Path

import keras

from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.metrics.ranking_metric import RankingMetric
from keras_t4r.schema import Schema
from keras_t4r.training.checkpoint import Checkpoint
from keras_t4r.training.evaluate import evaluate_scorer
from keras_t4r.training.tune_strength import tune_strength
from keras_t4r.training.window_report import WindowReport

# Seeds of the loaders of two windows are this far apart.
_SEED_STEP = 100_003


def fit_windows(
    model,
    folder,
    *,
    schema=None,
    windows=None,
    train="sessions",
    evaluate="sessions",
    epochs=5,
    batch_size=256,
    max_length=None,
    replay=0,
    baselines=None,
    callbacks=None,
    checkpoint=None,
    seed=0,
    verbose=True,
):
    """Fits on each window of time and evaluates on the next.

    The model goes on from window to window, as a service does that is
    retrained every day; no session is evaluated after it was trained on.
    `callbacks` see each window as a `fit` of its own, its epochs counted from 0. A
    `TransitionMemory` of the model learns each window too, after its strength was
    tuned to it (see `tune_strength`); the report then shows what the network scores
    without it beside the model.

    Args:
        model: compiled `SessionModel`, with ranking metrics.
        folder: path. Sessions by window, `<window>/<name>.parquet`, as of
            `SessionETL.write`.
        schema: `Schema`. Defaults to `schema.pbtxt` in the folder.
        windows: list of the names of windows, in order of time. Defaults to all
            numbered folders.
        train: string. Name of the parquet file to fit on.
        evaluate: string. Name of the parquet file to evaluate on.
        epochs: int. Epochs a window.
        batch_size: int.
        max_length: int. Newest events kept of a session; the schema's by default.
        replay: int. How many earlier windows to fit on again beside each.
        baselines: dict of name to baseline, as of `standard_baselines`. They learn
            the same windows, and are evaluated beside the model.
        callbacks: list of Keras callbacks, or a function that makes them for a
            window.
        checkpoint: path. Folder of the run's checkpoint, written after every
            epoch. A run that finds one goes on from it, to the same result.
        seed: int. Seed of the order of sessions.
        verbose: bool. Print a line a window and model.

    Returns:
        A `WindowReport`.

    Raises:
        FileNotFoundError: a window's file is missing.
        ValueError: fewer than two windows, or a model without ranking metrics.

    Example:

    ```python
    baselines = standard_baselines(schema)
    report = fit_windows(model, "sessions", epochs=5, baselines=baselines)
    print(report)
    ```

    References:
    - de Souza Pereira Moreira et al., Transformers4Rec, RecSys 2021: incremental
      training and evaluation.
    """
    folder = Path(folder)
    schema = schema or Schema.load(folder / "schema.pbtxt")
    baselines = baselines or {}
    windows = _windows(folder) if windows is None else list(windows)
    if len(windows) < 2:
        raise ValueError(
            f"{folder} has {len(windows)} window(s) {windows}; two are needed, one to "
            "fit on and the next to evaluate on."
        )
    metrics = [m for m in model.metrics if isinstance(m, RankingMetric)]
    if not metrics:
        raise ValueError(
            "The model has no ranking metrics to evaluate: compile it with "
            "metrics=[NDCG(20), …]."
        )
    run = _Run(model, Checkpoint(checkpoint) if checkpoint else None, verbose)
    run.resume()
    for number, (now, after) in enumerate(pairwise(windows)):
        past = [
            _file(folder, w, train) for w in windows[max(0, number - replay) : number]
        ]
        today = _file(folder, now, train)
        target = _file(folder, after, evaluate)
        for baseline in baselines.values():
            baseline.update(today)
        if number < run.window:
            continue
        loader = KerasSequenceLoader(
            [*past, today],
            schema,
            batch_size,
            max_length=max_length,
            seed=seed + _SEED_STEP * number,
        )
        if model.memory is not None and run.epoch == 0:
            if number:
                fresh = KerasSequenceLoader(
                    today, schema, 512, target="last", max_length=max_length
                )
                tune_strength(model, fresh)
            model.memory.update(
                KerasSequenceLoader(today, schema, 1024, max_length=max_length)
            )
        made = callbacks(now) if callable(callbacks) else list(callbacks or [])
        seconds = run.fit(loader, epochs, made)
        test = KerasSequenceLoader(
            target, schema, 512, target="last", max_length=max_length
        )
        note = f"{loader.num_sessions} sessions, {seconds:.0f} s"
        run.add(after, "model", _evaluate(model, test, metrics), note)
        if model.memory is not None:
            with model.memory.set_aside():
                logs = _evaluate(model, test, metrics)
            run.add(after, "model, no memory", logs, "the network alone")
        for name, baseline in baselines.items():
            started = time.perf_counter()
            logs = evaluate_scorer(baseline, test, metrics)
            run.add(after, name, logs, f"{time.perf_counter() - started:.0f} s")
        run.finish_window()
    return run.report


def _evaluate(model, loader, metrics):
    logs = model.evaluate(loader, verbose=0, return_dict=True)
    return {m.name: logs[m.name] for m in metrics}


class _Run:
    """Where a run over windows stands: window, epoch, and the report so far."""

    def __init__(self, model, checkpoint, verbose):
        self.model = model
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.window = 0
        self.epoch = 0
        self.report = WindowReport()

    def resume(self):
        state = self.checkpoint and self.checkpoint.restore(self.model)
        if state:
            self.window, self.epoch = state["window"], state["epoch"]
            self.report = WindowReport(state["rows"])
            self._say(f"Going on in window {self.window + 1}, epoch {self.epoch + 1}.")

    def save(self):
        if self.checkpoint:
            state = {
                "window": self.window,
                "epoch": self.epoch,
                "rows": self.report.rows,
            }
            self.checkpoint.save(self.model, state)

    def fit(self, loader, epochs, callbacks):
        started = time.perf_counter()
        if self.epoch < epochs:
            loader.set_epoch(self.epoch)
            self.model.fit(
                loader,
                epochs=epochs,
                initial_epoch=self.epoch,
                callbacks=[*callbacks, _AfterEpoch(self)],
                verbose=0,
                shuffle=False,
            )
        return time.perf_counter() - started

    def add(self, window, name, logs, note):
        self.report.add(window, name, logs)
        values = "  ".join(f"{k} {v:.4f}" for k, v in logs.items())
        self._say(f"window {window!s:>4}  {name:<20} {values}  ({note})")

    def finish_window(self):
        self.window += 1
        self.epoch = 0
        self.save()

    def _say(self, line):
        if self.verbose:
            print(line, file=sys.stderr, flush=True)


class _AfterEpoch(keras.callbacks.Callback):
    """Counts and saves each epoch; last in the list, so that others go first."""

    def __init__(self, run):
        super().__init__()
        self._run = run

    def on_epoch_end(self, epoch, logs=None):
        self._run.epoch = epoch + 1
        self._run.save()


def _windows(folder):
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder of sessions at {folder}.")
    names = [p.name for p in folder.iterdir() if p.is_dir() and p.name.isdigit()]
    return sorted(names, key=int)


def _file(folder, window, name):
    path = folder / str(window) / f"{name}.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"Window {window} has no file {path}.")
    return path
