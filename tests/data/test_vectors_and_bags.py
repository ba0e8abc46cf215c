"""Columns with several values an event: from the file to the batch."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import keras_t4r as t4r


def column(name, *tags, domain=None, dtype="int64", event_count=None):
    return t4r.ColumnSchema(name, dtype, tags, domain, (1, 6), event_count)


ITEM = column("item", "item_id", "categorical", domain=t4r.Domain(2, 9))
IMAGE = column("image", "embedding", dtype="float32", event_count=(2, 2))
GENRES = column("genres", "categorical", domain=t4r.Domain(1, 5), event_count=(0, 3))
SCHEMA = t4r.Schema((ITEM, IMAGE, GENRES))
IDS = [[2, 3, 4], [5], [6, 7, 8, 9]]
IMAGES = [[[float(i), -float(i)] for i in row] for row in IDS]
BAGS = [[[1, 2], [], [3, 4, 5]], [[5]], [[1], [2], [3], [4, 1]]]


def table(**changed):
    images = pa.array(IMAGES, pa.list_(pa.list_(pa.float32())))
    return pa.table({"item": IDS, "image": images, "genres": BAGS, **changed})


def load(sessions=None, schema=SCHEMA, **options):
    options = {"shuffle": False, "bucket": False, **options}
    sessions = table() if sessions is None else sessions
    return t4r.KerasSequenceLoader(sessions, schema, 3, **options)


def test_schemas_know_what_an_event_has():
    assert IMAGE.is_vector and IMAGE.is_continuous and not IMAGE.is_categorical
    assert GENRES.is_bag and GENRES.is_categorical
    assert SCHEMA.features.names == ["item", "image", "genres"]
    shapes = {name: tensor.shape for name, tensor in SCHEMA.inputs().items()}
    assert shapes == {
        "item": (None, None),
        "image": (None, None, 2),
        "genres": (None, None, 3),
    }
    assert t4r.Schema.from_text(SCHEMA.to_text()) == SCHEMA


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"event_count": (2, 3)}, "the width twice"),
        ({"event_count": (0, 0)}, "the width twice"),
        ({"event_count": 2}, "should be a pair"),
        ({"event_count": (3, 2)}, "the least, 3, is above"),
        ({"event_count": (2, 2), "value_count": None}, "its events have"),
        ({"event_count": (2, 2), "dtype": "int64", "tags": ()}, "neither ids"),
    ],
)
def test_counts_that_do_not_go_together_are_refused(wrong, why):
    arguments = {"dtype": "float32", "tags": ("embedding",), "value_count": (1, 6)}
    with pytest.raises((TypeError, ValueError), match=why):
        t4r.ColumnSchema("image", **{**arguments, **wrong})


def test_merlin_has_no_lists_in_lists():
    with pytest.raises(ValueError, match=r"\['image', 'genres'\] have vectors or bags"):
        SCHEMA.to_merlin()
    deeper = SCHEMA.to_text().replace(
        "value_count {\n      min: 2",
        "value_count {min: 1 max: 1} value_count {\n min: 2",
    )
    with pytest.raises(ValueError, match="lists in lists in lists"):
        t4r.Schema.from_text(deeper)


@pytest.mark.parametrize("kind", ["list", "fixed", "large"])
def test_batches_are_padded_on_both_axes(kind, tmp_path):
    inner = {
        "list": pa.list_(pa.float32()),
        "fixed": pa.list_(pa.float32(), 2),
        "large": pa.large_list(pa.float64()),
    }[kind]
    images = pa.array(IMAGES, pa.list_(inner))
    pq.write_table(table(image=images), tmp_path / "s.parquet", row_group_size=2)
    (x,) = load(tmp_path / "s.parquet")[0]
    assert x["image"].shape == (3, 6, 2) and x["image"].dtype == np.float32
    assert x["genres"].shape == (3, 6, 3) and x["genres"].dtype == np.int32
    for row, (images, bags) in enumerate(zip(IMAGES, BAGS, strict=True)):
        np.testing.assert_array_equal(x["image"][row, : len(images)], images)
        assert not x["image"][row, len(images) :].any()
        for event, bag in enumerate(bags):
            assert x["genres"][row, event].tolist() == bag + [0] * (3 - len(bag))
        assert not x["genres"][row, len(bags) :].any()


def test_the_target_takes_its_vector_and_its_bag_with_it():
    x, y = load(target="last")[0]
    assert y.tolist() == [4, 9]
    assert x["image"][:, :4].shape == (2, 4, 2)
    np.testing.assert_array_equal(x["image"][0, :2], IMAGES[0][:2])
    assert not x["image"][0, 2:].any() and not x["genres"][0, 2:].any()
    filled, *_ = load(batch_multiple=4)[0]
    assert filled["image"].shape == (4, 6, 2) and not filled["image"][3].any()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"image": IDS}, r"holds single values .* a vector an event"),
        ({"genres": IDS}, r"holds single values .* a bag of ids an event"),
        ({"genres": [[[1]] * 3, [[1] * 4], [[1]] * 4]}, "row 2: an event has 4 values"),
        ({"genres": [[[1]] * 3, [None], [[1]] * 4]}, "row 2: an event is null"),
        ({"genres": [[[1]] * 3, [[6]], [[1]] * 4]}, "row 2: id 6 is beyond"),
        ({"genres": [[[1]] * 3, [[1]], [[1], [1], [2, 0], []]]}, "row 3: id 0 inside"),
        ({"genres": [[[1]], [[1]], [[1]] * 4]}, "row 1: the list has 1 values"),
        (
            {"image": [[[1.0, 2.0]] * 3, [[1.0]], [[1.0, 2.0]] * 4]},
            "row 2: an event has 1 values",
        ),
        (
            {"image": [[[1.0, 2.0]] * 3, [[1.0, float("nan")]], [[1.0, 2.0]] * 4]},
            "row 2: a value is NaN",
        ),
        ({"item": [[[1]]] * 3}, "holds lists of lists"),
    ],
)
def test_what_is_no_vector_or_bag_is_refused(changed, why):
    with pytest.raises((TypeError, ValueError), match=why):
        load(table(**changed))


def test_several_values_are_no_target():
    with pytest.raises(ValueError, match="has several values an event, and a target"):
        load(targets=["genres"])
    with pytest.raises(ValueError, match="has several values an event, and a target"):
        load(target="last", next_columns=["image"])
    bag = column("item", "item_id", domain=t4r.Domain(2, 9), event_count=(1, 2))
    with pytest.raises(ValueError, match="an event is of one item"):
        load(schema=t4r.Schema((bag,)))


# Vectors that stay on the disk.

TABLE = np.arange(20, dtype="float64").reshape(10, 2)


@pytest.fixture
def file(tmp_path):
    np.save(tmp_path / "vectors.npy", TABLE)
    return tmp_path / "vectors.npy"


def test_vectors_are_looked_up_by_id(file):
    sessions = table().drop_columns(["image"])
    for given in (file, str(file), TABLE):
        (x,) = load(sessions, vectors={"image": ("item", given)})[0]
        expected = TABLE[x["item"]] * (x["item"] != 0)[..., None]
        np.testing.assert_array_equal(x["image"], expected)
        assert x["image"].dtype == np.float32
    # Ids that are no column of x are read all the same.
    other = column("shop", "categorical", domain=t4r.Domain(1, 9))
    loader = load(
        sessions.append_column("shop", pa.array(IDS)),
        t4r.Schema((ITEM, IMAGE, other)),
        columns=["item", "image"],
        vectors={"image": ("shop", file)},
    )
    (x,) = loader[0]
    assert list(x) == ["item", "image"]
    np.testing.assert_array_equal(x["image"][1, 0], TABLE[5])


def test_a_copy_in_another_process_maps_the_file_again(file):
    loader = load(vectors={"image": ("item", file)})
    before = loader[0][0]["image"]
    state = pickle.dumps(loader._vectors)
    assert len(state) < 1000
    np.testing.assert_array_equal(
        pickle.loads(state)["image"].of(loader[0][0]["item"]), before
    )


def test_a_file_of_vectors_that_was_cut_short_or_removed_is_refused(file):
    loader = load(vectors={"image": ("item", file)})
    assert loader[0]
    np.save(file, TABLE[:5])
    with pytest.raises(ValueError, match=r"vectors\.npy was replaced or changed after"):
        loader[0]
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"vectors\.npy was removed after t"):
        loader[0]


def bad(dtype="float32", shape=(10, 2)):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("vectors", "why"),
    [
        ({"image": "vectors.npy"}, "should be the pair"),
        ([("image", "vectors.npy")], "vectors is a list; it should be a dict"),
        ({"image": ("item", "nowhere.npy")}, "no file of vectors"),
        ({"image": ("item", bad("int32"))}, "hold int32"),
        ({"image": ("item", bad(shape=(9, 2)))}, r"by the schema it is \(10, 2\)"),
        ({"image": ("item", bad(shape=(10, 3)))}, r"by the schema it is \(10, 2\)"),
        ({"image": ("genres", bad())}, "has no id an event"),
        ({"genres": ("item", bad())}, "none of vectors in the schema"),
        ({"picture": ("item", bad())}, "no column 'picture'"),
    ],
)
def test_vectors_that_cannot_be_looked_up_are_refused(vectors, why):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=why):
        load(vectors=vectors)


def test_a_vector_that_is_no_number_is_named():
    broken = TABLE.copy()
    broken[5] = np.nan
    loader = load(vectors={"image": ("item", broken)})
    with pytest.raises(ValueError, match="vector of id 5 has a number that is none"):
        loader[0]
    with pytest.raises(ValueError, match="not among the columns of x"):
        load(vectors={"image": ("item", TABLE)}, columns=["item"])
