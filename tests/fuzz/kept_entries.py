"""Files that the package wrote itself."""

import shutil

import keras
import numpy as np
from damage import damaged
from fuzzed_log import clicks, make_etl

import keras_t4r as t4r
from keras_t4r.training.checkpoint import Checkpoint


class Kept:
    """Files that are written once, and damaged in copies."""

    made = None

    @classmethod
    def folder(cls, place):
        if cls.made is None:
            cls.made = place / "kept"
            rng = np.random.default_rng(5)
            cls.etl = make_etl()
            cls.clicks = clicks(rng)
            cls.etl.write(cls.clicks, cls.made / "log", progress=False)
            cls.schema = t4r.Schema.load(cls.made / "log" / "schema.pbtxt")
            cls.model = small_model(cls.schema)
            cls.run = {"seed": 1}
            checkpoint = Checkpoint(cls.made / "checkpoint", cls.run)
            checkpoint.save(cls.model, {"epoch": 1, "held": np.arange(3.0)})
        return cls.made


def small_model(schema):
    inputs = schema.inputs()
    x, table = t4r.SequenceEmbeddingFeatures(schema, d_output=4, embedding_dim=4)(
        inputs
    )
    x, targets = t4r.CausalLanguageModeling()(x, inputs["i"])
    x = keras.layers.Dense(4)(x)
    model = t4r.SessionModel(inputs, t4r.NextItemHead()(x, targets, table))
    model.compile("adam", metrics=[t4r.metrics.NDCG(5)])
    return model


def damage_one(folder, rng, pattern="*"):
    files = sorted(p for p in folder.rglob(pattern) if p.is_file())
    path = files[rng.integers(len(files))]
    path.write_bytes(damaged(path.read_bytes(), rng))


def session_files(rng, folder):
    kept = Kept.folder(folder.parent)
    shutil.copytree(kept / "log", folder / "log")
    damage_one(folder / "log" / "1", rng)

    def read(place):
        loader = t4r.KerasSequenceLoader(place / "1", Kept.schema, 4, shuffle=False)
        return [
            {k: v.tolist() for k, v in b[0].items()}
            for b in map(loader.__getitem__, range(len(loader)))
        ]

    return lambda: read(folder / "log"), lambda found: found == read(kept / "log")


def vocabulary_file(rng, folder):
    kept = Kept.folder(folder.parent)
    path = folder / "i.parquet"
    shutil.copy(kept / "log" / "vocabularies" / "i.parquet", path)
    path.write_bytes(damaged(path.read_bytes(), rng))

    def is_right(found):
        whole = Kept.etl.vocabulary("i")
        same = found.values.to_list() == whole.values.to_list()
        return same and found.counts.to_list() == whole.counts.to_list()

    return lambda: t4r.Vocabulary.load(path), is_right


def workflow_folder(rng, folder):
    kept = Kept.folder(folder.parent)
    shutil.copytree(kept / "log" / "workflow", folder / "workflow")
    damage_one(folder / "workflow", rng)

    def run():
        return t4r.SessionETL.load(folder / "workflow").transform(Kept.clicks)

    return run, lambda found: found.equals(Kept.etl.transform(Kept.clicks))


def schema_file(rng, folder):
    """A schema is for people to write, so another valid one is no fault."""
    kept = Kept.folder(folder.parent)
    path = folder / "schema.pbtxt"
    shutil.copy(kept / "log" / "schema.pbtxt", path)
    path.write_bytes(damaged(path.read_bytes(), rng))
    return lambda: t4r.Schema.load(path), lambda found: isinstance(found, t4r.Schema)


def checkpoint_folder(rng, folder):
    kept = Kept.folder(folder.parent)
    shutil.copytree(kept / "checkpoint", folder / "checkpoint")
    damage_one(folder / "checkpoint", rng)
    weights = [np.array(w) for w in Kept.model.get_weights()]

    def run():
        state = Checkpoint(folder / "checkpoint", Kept.run).restore(Kept.model)
        return state["epoch"], state["held"].tolist()

    def is_right(found):
        same = zip(weights, Kept.model.get_weights(), strict=True)
        return found == (1, [0.0, 1.0, 2.0]) and all(
            np.array_equal(one, other) for one, other in same
        )

    return run, is_right
