"""The SavedModel of a model that answers with an index: the two ends of an answer."""

from keras_t4r.files import new_folder
from keras_t4r.models.answers.candidate_graph import CandidateGraph
from keras_t4r.serving.saved_model import (
    archive_of,
    checked,
    decoder,
    encoded_signature,
)


def write_candidates_model(model, path, vocabulary, k):
    """Writes what `triton_index_model.py` needs beside an index.

    The signatures are `query`, from encoded inputs; `best`; and `decode`, from `ids` to
    `raw`. Of the first two see `CandidateGraph`.

    Args:
        model: `SessionModel` of one output, of the items.
        path: path. Folder to write.
        vocabulary: `Vocabulary` of the items, or `None`.
        k: int. Number of items in an answer.

    Returns:
        Whether the index is asked for what the other items add up to.

    Raises:
        ValueError: a step after the head does not go with an index, or Keras runs on
            another backend than TensorFlow.
    """
    import tensorflow as tf

    archive = archive_of(model)
    (name,) = model.heads
    graph, raw = CandidateGraph(model, model.output_of(name), k), decoder(vocabulary)
    query = archive.add_endpoint(
        "query",
        lambda inputs: graph.query(checked(model.schema, inputs)),
        [encoded_signature(model.schema)],
    )
    asked = query.get_concrete_function().structured_outputs
    asked = {name: (x.shape, x.dtype) for name, x in asked.items() if name != "must"}
    each = {"ids": "int32", "hit": "bool", "score": "float32", "allowed": "bool"}
    given = {
        **asked,
        **{name: ((None, None), dtype) for name, dtype in each.items()},
        "rest": ((None,), "float32"),
    }
    specs = {name: tf.TensorSpec(*spec, name) for name, spec in given.items()}
    archive.add_endpoint("best", graph.best, [specs])
    ids = tf.TensorSpec((None, None), "int32", "ids")
    archive.add_endpoint("decode", lambda ids: {"raw": raw(ids)}, [ids])
    with new_folder(path) as folder:
        archive.write_out(str(folder), verbose=False)
    return graph.reads_rest
