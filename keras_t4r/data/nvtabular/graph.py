"""The steps of an ETL as a graph of NVTabular's operators, statistics set."""

import numpy as np
import pandas as pd

from keras_t4r.data.clicks.click_log import ROW
from keras_t4r.data.clicks.prepared import TIME
from keras_t4r.data.etl.config import LENGTH, RECENCY, WINDOW
from keras_t4r.data.etl.time_features import log_age, time_feature, window_index
from keras_t4r.schema import UNKNOWN_ID
from keras_t4r.schema.vocabulary import FIRST_ID

FIRST_TIME = "__first_time"
# Column names hold no slash (ETLConfig says so), so no name ends like an
# aggregate's by accident: Groupby takes "x_count" for a count.
_SEPARATOR = "/"
# Categorify counts 0 padding, 1 null, 2 out of vocabulary, 3… values.
_CATEGORIFY_SHIFT = 3 - FIRST_ID


def make_workflow(config, state, folder, min_length):
    """Builds the workflow of a fitted ETL.

    Its input are prepared clicks (in order of session and time, repeats dropped),
    its output one row a session. Steps before the grouping see clicks.

    NVTabular computes a node anew for each node that reads it. Everything is
    therefore made before the grouping, the costly step, which one node reads.

    Args:
        config: `ETLConfig`.
        state: `ETLState`.
        folder: path. Where Categorify keeps its vocabularies.
        min_length: int. Shorter sessions are filtered out.

    Returns:
        An `nvtabular.Workflow`.
    """
    import nvtabular
    from nvtabular import ops

    listed = (config.item, *config.categorical)
    features = encoded(listed, state, folder)
    if config.continuous:
        features += standardised(config.continuous, state)
    for name in config.time_features:
        features += time_node(name)
    if config.recency:
        features += standardised([RECENCY], state, recency_node(config, state))
    if config.context_categorical:
        features += encoded(config.context_categorical, state, folder)
    if config.context_continuous:
        features += standardised(config.context_continuous, state)
    windows = [TIME] >> ops.LambdaOp(
        lambda times: window_index(times, state.origin, config.window_parts[0]),
        dtype=np.int32,
    )
    features += windows >> ops.Rename(name=WINDOW)
    features += [config.session, TIME, ROW]

    lists = [*listed, *config.continuous, *config.derived]
    context = [*config.context_categorical, *config.context_continuous]
    sessions = features >> ops.Groupby(
        groupby_cols=[config.session],
        sort_cols=[TIME, ROW],
        aggs={
            **{name: ["list"] for name in lists},
            **{name: ["first"] for name in context},
            # Of the first click, too, and many times as fast as "first".
            WINDOW: ["min"],
            TIME: ["min"],
            ROW: ["min", "count"],
        },
        name_sep=_SEPARATOR,
    )
    newest = newest_op([f"{name}/list" for name in lists], config.max_length)
    output = sessions >> newest >> ops.Rename(f=_own_name)
    if min_length > 1:
        output = output >> ops.Filter(lambda frame: frame[LENGTH] >= min_length)
    return nvtabular.Workflow(output)


def _own_name(name):
    if name == f"{ROW}/count":
        return LENGTH
    return name.rsplit(_SEPARATOR, 1)[0]


def newest_op(lists, max_length):
    """ListSlice for some columns, which lets the others through."""
    from nvtabular.ops import ListSlice
    from nvtabular.ops.operator import ColumnSelector

    class Newest(ListSlice):
        def transform(self, col_selector, df):
            sliced = super().transform(ColumnSelector(lists), df)
            return df.assign(**{name: sliced[name] for name in lists})

    return Newest(-max_length)


def encoded(names, state, folder):
    """Raw values → ids of the given vocabularies; 1 for unknown ones."""
    from nvtabular import ops

    vocabularies = {n: state.vocabularies[n].values.to_pandas() for n in names}
    ids = list(names) >> ops.Categorify(vocabs=vocabularies, out_path=str(folder))
    return ids >> ops.LambdaOp(
        lambda codes: (codes - _CATEGORIFY_SHIFT).clip(lower=UNKNOWN_ID),
        dtype=np.int64,
    )


def standardised(names, state, source=None):
    """(x - mean) / deviation in float32; 0 for null."""
    from nvtabular import ops

    normalize = ops.Normalize(out_dtype=np.float32)
    for name in names:
        normalize.means[name], normalize.stds[name] = state.moments[name]
    return (source or list(names)) >> normalize >> ops.FillMissing(fill_val=0)


def time_node(name):
    from nvtabular import ops

    feature = [TIME] >> ops.LambdaOp(
        lambda times: time_feature(name, times), dtype=np.float32
    )
    return feature >> ops.Rename(name=name)


def recency_node(config, state):
    """log(1 + days since the item's first click); 0 for unknown items."""
    from nvtabular import ops

    vocabulary = state.vocabularies[config.item]
    first = pd.DataFrame(
        {
            config.item: vocabulary.values.to_pandas(),
            FIRST_TIME: state.first_times[FIRST_ID:],
        }
    )
    times = [config.item, TIME] >> ops.JoinExternal(first, on=[config.item])
    ages = times[FIRST_TIME] >> ops.LambdaOp(
        lambda first, frame: log_age(frame[TIME], first),
        dependency=[TIME],
        dtype=np.float64,
    )
    return ages >> ops.FillMissing(fill_val=0) >> ops.Rename(name=RECENCY)
