"""Workflow and model as a Triton model repository: raw rows in, raw ids out."""

import json
import pathlib
import shutil

from keras_t4r.arguments import truth, whole_number
from keras_t4r.files import PLAIN, as_path, is_plain, new_folders
from keras_t4r.models.answers.excluded import EXCLUDE
from keras_t4r.models.graph import output_names
from keras_t4r.schema.standardised import is_standardised, same_numbers
from keras_t4r.serving import triton_config
from keras_t4r.serving.candidates_saved_model import write_candidates_model
from keras_t4r.serving.ensemble_files import (
    CONFIG,
    INDEX,
    MODEL,
    PROGRAM,
    SAVED_MODEL,
    SCHEMA,
    WORKFLOW,
    check_config,
    keep_versions,
)
from keras_t4r.serving.saved_model import check_free, write_saved_model
from keras_t4r.serving.served_outputs import SCORES, ServedOutputs

RESULT = "result_"
PLATFORMS = ("python", "tensorflow_savedmodel")
# The same vectors, computed twice: a step of training changes them by more.
_ROUNDING = 1e-6


def export_tensorflow_ensemble(
    model,
    workflow,
    name,
    path,
    *,
    k=20,
    exclude_seen=False,
    version=1,
    platform="python",
    overwrite=False,
    index=None,
    candidates=None,
):
    """Writes a Triton ensemble that turns raw clicks into recommendations.

    Three models appear in the repository `path`, or none:

    - `NAME`: the ensemble, the one to ask.
    - `NAME_nvt`: the workflow (in `NAME_nvt/VERSION/workflow/`), in Triton's Python
      backend. Raw rows become the padded inputs of the model.
    - `NAME_tf`: the model with its top-k, as `export_saved_model` writes it. With an
      index, the model and the index (in `NAME_tf/VERSION/index/`), which answer as
      `SessionModel.recommend` does with that index.

    A request holds raw interaction rows, of one session or many, as one `(rows, 1)`
    tensor a raw column: int64, float64 or text, as in `workflow.input_columns`. NaN
    and the least int64 stand for "no value". The answer has a row a session, in the
    order in which the rows first name them: `result_SESSION`, `(sessions, 1)` raw ids;
    `result_ITEM`, `(sessions, k)` raw ids, best first; `result_scores`,
    `(sessions, k)` float32. (`result_`, since Triton needs other names for what
    leaves an ensemble than for what enters it.) Where fewer than `k` items are left,
    the last places hold none: their score is minus infinity, and their id -1 or `""`.

    A model of more outputs, or of others, answers with all of them, as
    `export_saved_model` says, each with `result_` before its name: a next-item output
    with `result_OUTPUT`, raw ids of its column, and `result_OUTPUT_scores`; any other
    with `result_OUTPUT`, float32; and `result_events`, `(sessions,)` int32, says of how
    many events a session has values, where an output has one an event.

    A request may have one tensor more, `exclude`: raw ids of items that are not to be
    answered, `(1, n)` for all its sessions or `(sessions, n)`, in the order of the
    answer, filled up with "no value". (A model without an output of the items has no
    such input.)

    Items that the workflow has never seen count as unknown, and the session is
    answered by what else it has; long sessions are cut to their newest events. A
    request without rows, with missing or unreadable values, or with types other than
    the declared ones gets an error that says so.

    Args:
        model: `SessionModel`.
        workflow: fitted `SessionETL` or `NVTabularWorkflow`, the one that made the
            model's training data.
        name: string. Name of the ensemble.
        path: path. The model repository; made if it does not exist.
        k: int. Number of items in an answer.
        exclude_seen: bool. Leave out the items of the session itself, from outputs of
            the items.
        version: int. Version folder to write. Triton answers with the highest one; a
            lower one of the ensemble, asked by name, calls the newest parts as well.
        platform: string. `"python"` runs the SavedModel in Triton's Python backend,
            on any Triton; `"tensorflow_savedmodel"` in its TensorFlow backend, which
            Triton images have up to 25.02.
        overwrite: bool. Replace this version in models of these names. Their other
            versions stay, where the configuration is theirs too: the same columns, `k`
            and platform.
        index: `ItemIndex` of the model, as `IVFIndex.of(model)`. It is copied: to
            serve another one, or what it has become, export anew and load the ensemble
            again. The server's Python needs `keras_t4r`, and faiss for an `IVFIndex`.
        candidates: int. How many the index is asked for at first; see
            `SessionModel.recommend`.

    Returns:
        List of the three folders, the ensemble's first.

    Raises:
        FileExistsError: a model of that name is there, and `overwrite` is false; or it
            has a version of another configuration, or a file that this function did
            not write, which are never replaced.
        TypeError: the index is none.
        ValueError: workflow and model do not fit, an argument is out of range, or two
            tensors of request and answer would have the same name, or a column is named
            `exclude`; an index is not of
            this model as it is now, or goes with another `platform` than `"python"`;
            the model has other outputs than the items, or a step after the head, that
            do not go with an index; a weight is NaN or infinite.

    Example:

    ```python
    export_tensorflow_ensemble(model, etl, "t4rec", "models/", k=10)
    with TritonServer("models/") as server:
        TritonClient(server.http_url).recommend("t4rec", rows)
    ```
    """
    exclude_seen = truth("exclude_seen", exclude_seen)
    overwrite = truth("overwrite", overwrite)
    _check(model, workflow, name, version, platform)
    if model.answers_items:
        plain = [column.plain_name for column in model.schema]
        check_free([*workflow.input_columns, *model.schema.names, *plain])
    if index is not None:
        _check_goes_with_index(model, platform)
    candidates = model.candidates_of(index, k, candidates=candidates)
    if index is not None and not index.holds(*model.item_vectors(), _ROUNDING).all():
        raise ValueError(
            "The index holds other vectors than the model: the model was trained "
            "further, or loaded, after the index was built. Call index.refresh(model)."
        )
    path = as_path(path, "a model repository")
    targets = [path / name, path / f"{name}_nvt", path / f"{name}_tf"]
    # The ensemble comes last, when its parts are there; and nothing is written inside
    # the repository, where a server that polls would see it.
    with new_folders(targets[::-1], overwrite, MODEL, path) as folders:
        ensemble, nvt, tf = folders[::-1]
        _write_ensemble(ensemble, model, workflow, k, version)
        # Before the model is written, which takes long.
        check_config(targets[0], ensemble)
        _write_workflow(nvt, model, workflow, version)
        if index is None:
            _write_model(tf, model, workflow, k, exclude_seen, version, platform)
        else:
            _write_index_model(
                tf, model, workflow, k, exclude_seen, version, index, candidates
            )
        for target, folder in zip(targets[::-1], folders, strict=True):
            check_config(target, folder)
            keep_versions(target, folder)
    return targets


def _write_ensemble(folder, model, workflow, k, version):
    session = workflow.schema.session_id
    inputs = _raw_inputs(workflow, model)
    columns = {column.name: column.name for column in model.schema}
    plain = {column.plain_name: column.name for column in model.schema}
    answers = _answers(model, workflow, k)
    # The ensemble's own names: a raw column and its encoded twin differ.
    prefix = "input_"
    while any(prefix + x in workflow.input_columns for x in [*columns, EXCLUDE]):
        prefix += "_"
    if model.answers_items:
        columns[EXCLUDE] = plain[EXCLUDE] = EXCLUDE
    config = triton_config.ensemble(
        folder.name,
        inputs,
        _session_outputs(workflow, RESULT) + _answers(model, workflow, k, RESULT),
        [
            (
                f"{folder.name}_nvt",
                {column["name"]: column["name"] for column in inputs},
                {session: RESULT + session, **_prefixed(columns, prefix)},
            ),
            (
                f"{folder.name}_tf",
                _prefixed(plain, prefix),
                {column["name"]: RESULT + column["name"] for column in answers},
            ),
        ],
    )
    _save(folder, config, version)


def _write_workflow(folder, model, workflow, version):
    config = triton_config.python_model(
        folder.name,
        _raw_inputs(workflow, model),
        _session_outputs(workflow) + _model_inputs(model),
        workflow=f"{type(workflow).__module__}:{type(workflow).__qualname__}",
    )
    inside = _save(folder, config, version, "triton_workflow_model.py")
    workflow.save(inside / WORKFLOW)
    model.schema.save(inside / SCHEMA)


def _write_model(folder, model, workflow, k, exclude_seen, version, platform):
    inputs, outputs = _plain_inputs(model), _answers(model, workflow, k)
    if platform == "python":
        config = triton_config.python_model(folder.name, inputs, outputs)
        inside = _save(folder, config, version, "triton_saved_model.py")
    else:
        config = triton_config.saved_model(folder.name, inputs, outputs)
        inside = _save(folder, config, version)
    columns = ServedOutputs.of(model).columns
    vocabularies = {name: workflow.vocabulary(name) for name in columns}
    target = inside / SAVED_MODEL
    exclude = model.answers_items
    write_saved_model(model, target, vocabularies, k, exclude_seen, exclude)


def _write_index_model(
    folder, model, workflow, k, exclude_seen, version, index, candidates
):
    inside = folder / str(version)
    item = model.schema[model.schema.item_id]
    vocabulary = workflow.vocabulary(item.name)
    target = inside / SAVED_MODEL
    how = {
        "k": int(k),
        "candidates": candidates,
        "seen": item.plain_name if exclude_seen else None,
        "reads_rest": write_candidates_model(model, target, vocabulary, k),
    }
    config = triton_config.python_model(
        folder.name,
        _plain_inputs(model),
        _answers(model, workflow, k),
        retrieval=json.dumps(how),
    )
    _save(folder, config, version, "triton_index_model.py")
    index.save(inside / INDEX)


def _save(folder, config, version, program=None):
    """Writes the configuration and the version folder, which is returned."""
    inside = folder / str(version)
    inside.mkdir(parents=True, exist_ok=True)
    text = triton_config.to_text(config)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    if program is not None:
        here = pathlib.Path(__file__).parent
        shutil.copyfile(here / program, inside / PROGRAM)
    return inside


def _raw_inputs(workflow, model):
    tensors = [
        triton_config.tensor(name, kind, (-1, 1))
        for name, kind in workflow.input_columns.items()
    ]
    if model.answers_items:
        kind = workflow.vocabulary(model.schema.item_id).dtype
        tensors.append(triton_config.tensor(EXCLUDE, kind, (-1, -1), optional=True))
    return tensors


def _session_outputs(workflow, prefix=""):
    session = workflow.schema.session_id
    kind = workflow.input_columns[session]
    return [triton_config.tensor(prefix + session, kind, (-1, 1))]


def _model_inputs(model):
    tensors = [
        triton_config.tensor(
            column.name,
            "int32" if column.is_categorical else "float32",
            (-1, -1) if column.is_list else (-1,),
        )
        for column in model.schema
    ]
    if model.answers_items:
        tensors.append(triton_config.tensor(EXCLUDE, "int32", (-1, -1)))
    return tensors


def _plain_inputs(model):
    """Those of the model under the names that a SavedModel has for them."""
    plain = {column.name: column.plain_name for column in model.schema}
    return [
        {**tensor, "name": plain.get(tensor["name"], tensor["name"])}
        for tensor in _model_inputs(model)
    ]


def _answers(model, workflow, k, prefix=""):
    served = ServedOutputs.of(model)
    types = {name: workflow.vocabulary(name).dtype for name in served.columns}
    return [
        triton_config.tensor(prefix + tensor.name, tensor.dtype, tensor.shape)
        for tensor in served.tensors(k, types)
    ]


def _prefixed(names, prefix):
    return {key: prefix + value for key, value in names.items()}


def _check(model, workflow, name, version, platform):
    if platform not in PLATFORMS:
        raise ValueError(f"`platform` must be one of {PLATFORMS}, not {platform!r}.")
    if not isinstance(name, str) or not is_plain(name):
        raise ValueError(
            f"`name` must be the plain name of a folder ({PLAIN}), not {name!r}."
        )
    whole_number("version", version)
    session = workflow.schema.session_id
    served = ServedOutputs.of(model, taken=[session])
    for column in workflow.input_columns:
        if column in [RESULT + name for name in (session, *served.names)]:
            raise ValueError(
                f"The raw column {column!r} is named as an answer of the ensemble is: "
                "rename the column, or the model's output."
            )
    for column in model.schema:
        if column.name not in workflow.schema:
            raise ValueError(
                f"The model reads column {column.name!r}, which the workflow does not "
                f"make: it makes {workflow.schema.names}."
            )
        if workflow.schema[column.name].event_count != column.event_count:
            raise ValueError(
                f"Column {column.name!r} has vectors or bags in the model, and none in "
                "what the workflow makes: serve the model with export_saved_model, "
                "which takes them in the request."
            )
        made = workflow.schema[column.name]
        if not column.is_categorical:
            _check_numbers(column, made)
            continue
        vocabulary = model.vocabulary(column.name)
        same = (made.first_id, made.cardinality) == (
            column.first_id,
            column.cardinality,
        )
        if vocabulary is not None:
            same = same and vocabulary == workflow.vocabulary(column.name)
        elif column.encoding is not None:
            same = same and column.encoding == made.encoding
        if not same:
            raise ValueError(
                f"The ids of column {column.name!r} do not mean the same to workflow "
                f"({made.cardinality} ids) and model ({column.cardinality}): export "
                "with the workflow that made the model's training data."
            )


def _check_numbers(column, made):
    known = is_standardised(column.encoding) and is_standardised(made.encoding)
    if known and not same_numbers(column.encoding, made.encoding):
        raise ValueError(
            f"The numbers of column {column.name!r} do not mean the same to workflow "
            f"(standardised by {made.encoding}) and model (by {column.encoding}): "
            "export with the workflow that made the model's training data."
        )


def _check_goes_with_index(model, platform):
    if platform != "python":
        raise ValueError(
            "An index is searched in Triton's Python backend, and platform is "
            f"{platform!r}: leave platform out, or index."
        )
    if ServedOutputs.of(model).names != [model.schema.item_id, SCORES]:
        raise ValueError(
            "With an index a model answers with items alone, and this one has the "
            f"outputs {output_names(model)}: export a SessionModel of the items' "
            "scores, or leave index out."
        )
