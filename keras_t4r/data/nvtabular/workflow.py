"""Raw clicks → sessions, by NVTabular."""

import shutil
import tempfile
import weakref

from keras_t4r.data.clicks.click_log import ROW
from keras_t4r.data.clicks.prepared import TIME
from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.data.nvtabular.frames import (
    import_nvtabular,
    quiet,
    to_dataset,
    to_pandas,
    to_sessions,
)


class NVTabularWorkflow(SessionETL):
    """`SessionETL`, with an `nvtabular.Workflow` in place of its engine.

    For those who come from Merlin, or have GPUs (NVTabular uses cuDF where there
    is one). The arguments, the methods and the sessions are those of `SessionETL`,
    id for id; on a CPU it takes many times as long. It needs the extra
    `keras_t4r[nvtabular]`, which Python 3.10 and 3.11 can install.

    Files are read, times parsed, clicks sorted and repeats dropped by the code
    that `SessionETL` uses: Transformers4Rec's notebooks do these steps on data
    frames, too. From there on NVTabular's operators do the work: Categorify
    (its counts ranked by count and value), LambdaOp, JoinExternal and Normalize for
    the features, Groupby, ListSlice and Filter for the sessions.

    The fitted state is saved as JSON and parquet, not by `Workflow.save`, which
    pickles. It is the state of `SessionETL`: either class loads what the other
    saved.

    Example:

    ```python
    etl = NVTabularWorkflow("session_id", "timestamp", "item_id", ["category"])
    etl.fit("clicks/*.parquet")
    etl.write("clicks/*.parquet", "sessions", split=(0.8, 0.1, 0.1))
    etl.workflow                 # the fitted nvtabular.Workflow
    ```
    """

    def __init__(self, *args, **kwargs):
        import_nvtabular()
        super().__init__(*args, **kwargs)
        self._folder = None
        self._workflows = {}

    @property
    def workflow(self):
        """The fitted `nvtabular.Workflow`: prepared clicks → sessions of any length.

        Its input columns are the raw ones, with `__time` (microseconds since 1970)
        in place of the time and `__row` (the row number), each session whole in
        one partition. Its ids, like all its output, are those of `transform`.
        """
        self._fitted()
        return self._workflow(min_length=1)

    def _fit_state(self, parts, kinds):
        from keras_t4r.data.nvtabular.fit import fit_state

        self._workflows = {}
        return fit_state(parts, self.config, kinds)

    def _session_table(self, clicks, min_length, order):
        if clicks.is_empty():
            return super()._session_table(clicks, min_length, order)
        with quiet():
            dataset = to_dataset(to_pandas(clicks, self.config))
            result = self._workflow(min_length).transform(dataset)
            sessions = result.to_ddf().compute(scheduler="synchronous")
        by = [ROW] if order == "row" else [TIME, self.config.session]
        sessions = sessions.sort_values(by, ignore_index=True)
        return to_sessions(sessions, self.config, self._state.kinds)

    def _workflow(self, min_length):
        """One workflow a filter; they share nothing but the statistics."""
        from keras_t4r.data.nvtabular.graph import make_workflow

        if self._folder is None:
            # Categorify reads its vocabularies from files; they go with this object.
            self._folder = tempfile.mkdtemp(prefix="keras_t4r-nvtabular-")
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        if min_length not in self._workflows:
            with quiet():
                self._workflows[min_length] = make_workflow(
                    self.config, self._state, self._folder, min_length
                )
        return self._workflows[min_length]
