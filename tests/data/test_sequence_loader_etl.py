"""What SessionETL writes is what the loader reads."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.layers.features.sequence_embedding_features import (
    SequenceEmbeddingFeatures,
)
from keras_t4r.layers.memory.transition_memory import TransitionMemory
from keras_t4r.schema import Schema
from keras_t4r.schema.encoded_ids import mark_encoded


def test_a_written_folder_loads_by_its_own_schema(tmp_path):
    rng = np.random.default_rng(0)
    clicks = {
        "user": [f"u{i}" for i in rng.integers(0, 150, 900)],
        "time": rng.integers(0, 3 * 86_400, 900),
        "item": rng.zipf(1.5, 900) % 50,
        "brand": [["a", "b", None][i] for i in rng.integers(0, 3, 900)],
        "price": rng.random(900),
        "age": rng.random(900),
    }
    etl = SessionETL(
        "user",
        "time",
        "item",
        categorical=["brand"],
        continuous=["price"],
        context_continuous=["age"],
        time_unit="s",
        min_count=3,
        max_length=6,
    )
    sizes = etl.write(clicks, tmp_path / "out", progress=False)
    schema = Schema.load(tmp_path / "out" / "schema.pbtxt")
    window = str(next(iter(sizes)))
    whole = KerasSequenceLoader(tmp_path / "out", schema, 16)
    assert whole.num_sessions == sum(sizes.values())
    loader = KerasSequenceLoader(tmp_path / "out" / window, schema, 16, target="last")
    assert loader.num_sessions + loader.left_out == sizes[int(window)]
    x, y = loader[0]
    assert list(x) == [
        "item",
        "brand",
        "price",
        "dayofweek_sin",
        "recency_log_norm",
        "age",
    ]
    users = loader.session_ids(0).tolist()
    newest = {}
    order = np.argsort(clicks["time"], kind="stable")
    for row in order:
        newest[clicks["user"][row]] = clicks["item"][row]
    # Rare items are unknown, and stay as targets that are missed.
    known = {*etl.decode(np.arange(2, schema["item"].cardinality)).tolist()}
    last = [newest[user] for user in users]
    assert etl.decode(y).tolist() == [item if item in known else None for item in last]


def write(folder, clicks, etl=None):
    if etl is None:
        options = {"recency": False, "time_features": (), "time_unit": "s"}
        etl = SessionETL("user", "time", "item", **options)
    etl.write(clicks, folder, progress=False)
    return etl, Schema.load(folder / "schema.pbtxt")


def clicks_of(items, seed):
    rng = np.random.default_rng(seed)
    return {
        "user": rng.integers(0, 40, 300),
        "time": rng.integers(0, 86_400, 300),
        "item": rng.permutation(np.resize(items, 300)),
    }


@pytest.mark.parametrize("engine", ["arrow", "merlin"])
def test_sessions_that_another_etl_encoded_are_refused(tmp_path, engine):
    if engine == "merlin":
        pytest.importorskip("merlin.dataloader")
    items = np.random.default_rng(0).integers(0, 10_000, 60)
    _, schema = write(tmp_path / "ours", clicks_of(items, 1))
    # As many items, other ranks.
    write(tmp_path / "theirs", clicks_of(items[::-1], 2))
    whole = KerasSequenceLoader(tmp_path / "ours", schema, 8, engine=engine)
    for paths in (
        tmp_path / "theirs",
        [tmp_path / "ours", tmp_path / "theirs"],
    ):
        with pytest.raises(ValueError, match=r"'item' of \S*theirs\S* were encoded"):
            KerasSequenceLoader(paths, schema, 8, engine=engine)
    if engine == "arrow":
        (file,) = (tmp_path / "theirs").glob("[0-9]*/*.parquet")
        with pytest.raises(ValueError, match="'item' of the table were encoded by"):
            KerasSequenceLoader(pq.read_table(file), schema, 8)
    assert whole.num_sessions


def test_a_schema_without_its_vocabularies_or_with_anothers_is_refused(tmp_path):
    items = np.arange(60)
    _, schema = write(tmp_path / "ours", clicks_of(items, 1))
    write(tmp_path / "theirs", clicks_of(items, 2))
    alone = tmp_path / "alone" / "schema.pbtxt"
    schema.save(alone)
    text = Schema.from_text(schema.to_text())
    for lacking, why in ((Schema.load(alone), "beside the s"), (text, "no folder of")):
        for use in (SequenceEmbeddingFeatures, TransitionMemory):
            with pytest.raises(FileNotFoundError, match=f"of column 'item' .*{why}"):
                use(lacking)
        # To compare ids the name of their vocabulary is enough.
        assert KerasSequenceLoader(tmp_path / "ours", lacking, 8)[0]
        with pytest.raises(ValueError, match="were encoded by another"):
            KerasSequenceLoader(tmp_path / "theirs", lacking, 8)
    shutil.copytree(tmp_path / "theirs" / "vocabularies", alone.parent / "vocabularies")
    with pytest.raises(ValueError, match=r"is another vocabulary .*copy both from one"):
        Schema.load(alone).vocabulary("item")


@pytest.mark.parametrize("engine", ["arrow", "merlin"])
@pytest.mark.parametrize("change", ["another's", "shorter", "as old", "removed"])
def test_a_file_that_changed_since_the_loader_was_made_is_refused(
    tmp_path, change, engine
):
    if engine == "merlin":
        pytest.importorskip("merlin.dataloader")
    items = np.arange(60)
    _, schema = write(tmp_path / "ours", clicks_of(items, 1))
    write(tmp_path / "theirs", clicks_of(items, 2))
    (file,), (other,) = (
        list((tmp_path / name).glob("[0-9]*/*.parquet")) for name in ("ours", "theirs")
    )
    loader = KerasSequenceLoader(file, schema, 4, buffer_rows=8, engine=engine)
    assert loader[0]
    before, size = os.stat(file), file.stat().st_size
    if change == "removed":
        file.unlink()
    elif change == "another's":
        shutil.copy(other, file)
    elif change == "shorter":
        pq.write_table(pq.read_table(file).slice(0, 9), file)
    else:
        # Of one size and time, as a copy may be.
        content = file.read_bytes()
        file.write_bytes(content.replace(b"keras_t4r.ids", b"keras_t4r.IDS"))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.stat().st_size == size
    error = FileNotFoundError if change == "removed" else ValueError
    with pytest.raises(error, match=r"sessions\.parquet was .*make the loader again"):
        loader.set_epoch(1)
        loader[0]


def test_sessions_of_before_the_vocabulary_grew_are_taken(tmp_path):
    etl, before = write(tmp_path / "out", clicks_of(np.arange(60), 1))
    longer = etl.vocabulary("item").extend(np.arange(60, 80))
    longer.save(tmp_path / "grown" / "vocabularies" / "item.parquet")
    domain = replace(before["item"].domain, max=longer.last_id)
    after = Schema([replace(c, domain=domain) for c in before if c.name == "item"])
    after = replace(after, folder=tmp_path / "grown")
    (file,) = (tmp_path / "out").glob("[0-9]*/*.parquet")
    whole = KerasSequenceLoader(file, before, 8).num_sessions
    assert KerasSequenceLoader(file, after, 8).num_sessions == whole
    today = mark_encoded(pq.read_table(file), {"item": longer})
    assert KerasSequenceLoader(today, after, 8).num_sessions == whole
    with pytest.raises(ValueError, match="'item' of the table were encoded by"):
        KerasSequenceLoader(today, before, 8)
