import sys
import time
from contextlib import contextmanager, nullcontext
from itertools import pairwise

import keras

from keras_t4r.arguments import optional, truth, whole_number
from keras_t4r.data.loader.column_roles import ColumnRoles
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.files import as_path
from keras_t4r.schema import Schema, check_schema
from keras_t4r.training.callback_state import (
    arguments_of,
    check_states,
    set_states,
    states_of,
)
from keras_t4r.training.checkpoint import Checkpoint, checkpoint_folder
from keras_t4r.training.evaluate import evaluate_scorer
from keras_t4r.training.run_facts import facts_of, leave
from keras_t4r.training.steps_over_windows import StepsOverWindows
from keras_t4r.training.window_arguments import (
    callback_list,
    check_baselines,
    check_model,
    check_windows,
    file_name,
    window_list,
)
from keras_t4r.training.window_files import WindowFiles, numbered_windows
from keras_t4r.training.window_report import (
    MODEL,
    WindowReport,
    check_metric_names,
)

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
    targets=None,
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
    `TransitionMemory` of the model learns each window too. Before that, the window's
    sessions choose its strength (see `tune_memory`), together with those of the windows
    before, each at half the weight of the next; and a `CopyMechanism` is fit to them
    (see `tune_copy`). A first window of 1,000 sessions or
    more is fit twice: once without `callbacks` and without each tenth session, which
    then choose the strength, and, set back to the start, as a whole. The report shows
    what the model scores without either beside it; of a model that diverged it shows
    NaN. All files are looked at before the first is fit on.

    Args:
        model: compiled `SessionModel`, with ranking metrics.
        folder: path. Sessions by window, `<window>/<name>.parquet`, as of
            `SessionETL.write`.
        schema: `Schema`. Defaults to `schema.pbtxt` in the folder.
        windows: list of the names of windows, texts or whole numbers, in order of time:
            plain names of folders, each of its own files. Where all are numbers, they
            rise; where files say when their sessions began (the column `start`), no
            window ends before the one before it begins. Defaults to all numbered
            folders.
        train: string. Name of the parquet file to fit on.
        evaluate: string. Name of the parquet file to evaluate on.
        epochs: int. Epochs a window.
        batch_size: int.
        max_length: int. Newest events kept of a session, the one that is held back in
            evaluation among them; the schema's by default.
        targets: list of strings. Columns of the targets of the model's other outputs,
            as of `KerasSequenceLoader`.
        replay: int. How many earlier windows to fit on again beside each.
        baselines: dict of name to baseline, as of `standard_baselines`. They learn
            the same windows, and are evaluated beside the model, by the metrics of
            its outputs that score items. Each is new: one that has learned windows
            (its attribute `windows` is above 0) is refused. No name may be one of the
            report's own: "model", "model, …" or "network alone".
        callbacks: Keras callback, a list of them, or a function that makes them for a
            window, of whose name it is told, as text.
        checkpoint: path. Folder of the run's checkpoint, written after every
            epoch. A run that finds one goes on from it, to the same result: with the
            same arguments, files (all that they hold is compared), model, optimizer,
            losses and metrics, new baselines made as they were, and the same callbacks.
            What Keras and baselines were made with is compared by their configs and
            attributes; an object that has no config, by its class alone, and a function
            by its name. Weights, a memory's counts among them, are those of the
            checkpoint, whatever the model came with. `run_eagerly`, `jit_compile` and
            `steps_per_execution` may differ. Callbacks get back what they had counted
            (their numbers, texts and arrays, and lists and dicts of these). Paths are
            those of the new callbacks; what else they were made with has to be as it
            was.
        seed: int. Seed of the order of sessions.
        verbose: bool. Print a line a window and model.

    Returns:
        A `WindowReport`.

    Raises:
        TypeError: an argument is of a wrong type.
        FileNotFoundError: a window's file is missing.
        NotADirectoryError: the checkpoint's folder is a file.
        ValueError: an argument is out of its range, or a name is taken; fewer than two
            windows, one that stands twice, or after a later one, or has no sessions to
            fit on or to evaluate on; a baseline that has learned; a model without
            ranking metrics or with several memories or copy mechanisms; or a checkpoint
            that is damaged, of other arguments, files, models or baselines, or was
            written with other callbacks.
        BlockingIOError: another run uses the checkpoint's folder.

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
    check_schema(schema)
    check_baselines(baselines)
    verbose = truth("verbose", verbose)
    if not callable(callbacks):
        callbacks = callback_list(callbacks)
    if windows is not None:
        windows = window_list(windows)
    train, evaluate = file_name("train", train), file_name("evaluate", evaluate)
    epochs = whole_number("epochs", epochs)
    batch_size = whole_number("batch_size", batch_size)
    max_length = optional(whole_number, "max_length", max_length)
    replay = whole_number("replay", replay, least=0)
    seed = whole_number("seed", seed, least=0, most=None)
    if checkpoint is not None:
        checkpoint = checkpoint_folder(checkpoint)
    folder = as_path(folder, "sessions by window")
    check_model(model)
    schema = schema or Schema.load(folder / "schema.pbtxt")
    baselines = baselines or {}
    windows = numbered_windows(folder) if windows is None else windows
    if len(windows) < 2:
        raise ValueError(
            f"{folder} has {len(windows)} window(s) {windows}; two are needed, one to "
            "fit on and the next to evaluate on."
        )
    check_windows(windows)
    metrics = _of_items(model)
    first = next(iter(metrics.values()))
    steps = StepsOverWindows.of(model)
    files = WindowFiles(folder, windows, train, evaluate)
    load = _Loaders(model, schema, max_length, targets)
    files.check(model, load, tuned=steps is not None)
    kept = None
    if checkpoint is not None:
        about = {
            "windows": windows,
            "train": train,
            "evaluate": evaluate,
            "epochs": epochs,
            "batch_size": batch_size,
            "max_length": max_length,
            "targets": load.targets,
            "replay": replay,
            "seed": seed,
            "callbacks": "a function" if callable(callbacks) else "a list",
            "schema": schema.to_text(),
            "files": files.digests(),
            **facts_of(model, baselines, checkpoint),
        }
        kept = Checkpoint(checkpoint, about)
    with _Run(model, kept, steps, verbose).going(callbacks) as run:
        for number, (now, after) in enumerate(pairwise(windows)):
            past = [files.train(w) for w in windows[max(0, number - replay) : number]]
            today, target = files.train(now), files.evaluate(after)
            for baseline in baselines.values():
                baseline.update(today)
            if number < run.window:
                continue
            loader = load.to_fit(
                [*past, today], batch_size, seed=seed + _SEED_STEP * number
            )
            if steps and run.epoch == 0:
                if number:
                    steps.tune(load.to_evaluate(today), first)
                else:
                    steps.tune_first(
                        today,
                        load,
                        first,
                        epochs=epochs,
                        batch_size=batch_size,
                        seed=seed,
                    )
                steps.learn(load.to_fit(today, 1024))
            made = callback_list(callbacks(now)) if callable(callbacks) else callbacks
            seconds = run.fit(loader, epochs, made)
            test = load.to_evaluate(target)
            note = f"{loader.num_sessions} sessions, {seconds:.0f} s"
            if steps and steps.memory:
                note += f", strength {float(steps.memory.strength):g}"
            run.add(after, MODEL, _evaluate(model, test), note)
            for name, left_out in (steps.without() if steps else {}).items():
                with left_out():
                    logs = _evaluate(model, test)
                run.add(after, name, logs, "as fit for the model")
            for name, baseline in baselines.items():
                started = time.perf_counter()
                found = evaluate_scorer(baseline, test, list(metrics.values()))
                logs = {log: found[metric.name] for log, metric in metrics.items()}
                run.add(after, name, logs, f"{time.perf_counter() - started:.0f} s")
            run.finish_window(None if callable(callbacks) else made)
    return run.report


def _of_items(model):
    """Dict of name in the logs to ranking metric, of the outputs that score items."""
    found = {}
    for name, metrics in model.ranking_metrics.items():
        if model.heads[name].target is None:
            found.update(metrics)
    check_metric_names(log for own in model.ranking_metrics.values() for log in own)
    if not found:
        raise ValueError(
            "The model has no ranking metrics to evaluate: compile it with "
            "metrics=[NDCG(20), …]."
        )
    return found


def _evaluate(model, loader):
    """The model's ranking metrics on sessions, by their names in the logs."""
    logs = model.evaluate(loader, verbose=0, return_dict=True)
    ranked = model.ranking_metrics.values()
    return {log: logs[log] for metrics in ranked for log in metrics}


class _Loaders:
    """Makes the loaders that a model is fit and evaluated with."""

    def __init__(self, model, schema, max_length, targets):
        self._schema = schema
        self.item_id = schema.item_id
        # Those of outputs that score no items, but categories and the like.
        columns = [head.target for head in model.heads.values()]
        self._next_columns = [name for name in columns if name is not None] or None
        # Here, for what is wrong with them is no fault of a file.
        roles = [
            ColumnRoles.of(schema, None, target, targets, next_columns, None, {})
            for target, next_columns in ((None, None), ("last", self._next_columns))
        ]
        self.targets = list(roles[0].targets) or None
        self._max_length = max_length

    def to_fit(self, paths, batch_size, **arguments):
        return KerasSequenceLoader(
            paths,
            self._schema,
            batch_size,
            max_length=self._max_length,
            targets=self.targets,
            **arguments,
        )

    def to_evaluate(self, paths, **arguments):
        length = self._max_length
        return KerasSequenceLoader(
            paths,
            self._schema,
            512,
            target="last",
            # The event that is held back takes a place.
            max_length=None if length is None else max(1, length - 1),
            targets=self.targets,
            next_columns=self._next_columns,
            **arguments,
        )


class _Run:
    """Where a run over windows stands: window, epoch, callbacks, the report so far."""

    def __init__(self, model, checkpoint, steps, verbose):
        self.model = model
        self.checkpoint = checkpoint
        self.steps = steps
        self.verbose = verbose
        self.window = 0
        self.epoch = 0
        self.stopped = False
        self.report = WindowReport()
        # `None` where nothing is known of callbacks: each window has its own.
        self._states = None
        # Of each callback that was seen, by its id: what it was made with.
        self._seen = {}

    @contextmanager
    def going(self, callbacks):
        """The run, where its checkpoint left it; no other may use that meanwhile."""
        with self.checkpoint.held() if self.checkpoint else nullcontext():
            try:
                self._resume(callbacks)
                yield self
            finally:
                if self.checkpoint:
                    leave(self.model, self.checkpoint)

    def _resume(self, callbacks):
        state = self.checkpoint and self.checkpoint.restore(self.model)
        if state:
            self.window, self.epoch = state["window"], state["epoch"]
            self.stopped = state["stopped"]
            self.report = WindowReport(state["rows"])
            self._states = state["callbacks"]
            if not callable(callbacks):
                # A run that is done has no window in which they were looked at.
                check_states(callbacks, self._states, self._arguments(callbacks))
            if self.steps:
                self.steps.sums = state["strengths"]
            self._say(f"Going on in window {self.window + 1}, epoch {self.epoch + 1}.")

    def save(self, callbacks):
        if self.checkpoint:
            state = {
                "window": self.window,
                "epoch": self.epoch,
                "stopped": self.stopped,
                "rows": self.report.rows,
                "callbacks": callbacks
                and states_of(callbacks, self._arguments(callbacks)),
                "strengths": self.steps and self.steps.sums,
            }
            self.checkpoint.save(self.model, state)

    def fit(self, loader, epochs, callbacks):
        started = time.perf_counter()
        states, self._states = self._states, None
        # Before `fit`, in which callbacks open their files.
        check_states(callbacks, states, self._arguments(callbacks))
        states = states or []
        if self.epoch == 0:
            # Between two windows; in the midst of one, see _AfterEpoch.
            set_states(callbacks, states)
        loader.set_epoch(self.epoch)
        # Where all epochs are done, callbacks still have to see the end.
        self.model.fit(
            loader,
            epochs=self.epoch if self.stopped else epochs,
            initial_epoch=self.epoch,
            callbacks=[*callbacks, _AfterEpoch(self, callbacks, states)],
            verbose=0,
            shuffle=False,
        )
        return time.perf_counter() - started

    def _arguments(self, callbacks):
        """What callbacks were made with, as it was when they were seen first."""
        for callback in callbacks:
            if id(callback) not in self._seen:
                self._seen[id(callback)] = callback, arguments_of(callback)
        return [self._seen[id(callback)][1] for callback in callbacks]

    def add(self, window, name, logs, note):
        self.report.add(window, name, logs)
        values = "  ".join(f"{k} {v:.4f}" for k, v in logs.items())
        self._say(f"window {window!s:>4}  {name:<20} {values}  ({note})")

    def finish_window(self, callbacks):
        self.window += 1
        self.epoch = 0
        self.stopped = False
        self.save(callbacks)
        if not callbacks:
            self._seen = {}

    def _say(self, line):
        if self.verbose:
            print(line, file=sys.stderr, flush=True)


class _AfterEpoch(keras.callbacks.Callback):
    """Counts and saves each epoch; last in the list, so that others go first.

    Args:
        run: `_Run`.
        callbacks: list. Those before it.
        states: what they had counted where the run goes on.
    """

    def __init__(self, run, callbacks, states):
        super().__init__()
        self._run, self._callbacks, self._states = run, callbacks, states

    def on_train_begin(self, logs=None):
        # Callbacks start anew here; in the midst of a window they go on.
        if self._run.epoch:
            set_states(self._callbacks, self._states)

    def on_epoch_end(self, epoch, logs=None):
        self._run.epoch = epoch + 1
        self._run.stopped = bool(self.model.stop_training)
        self._run.save(self._callbacks)
