import gc
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_t4r.schema import Vocabulary

WORDS = ["b", "a", "é", "", "longer than the others"]


@pytest.mark.parametrize("values", [WORDS, [7, -5, 2**62, 0, 3]])
@pytest.mark.parametrize("first_id", [1, 2, 3, 6])
def test_ids_follow_the_values_and_lead_back(values, first_id):
    vocabulary = Vocabulary(values, first_id=first_id)
    ids = vocabulary.encode(values)
    assert ids.dtype == np.int32
    assert ids.tolist() == list(range(first_id, first_id + 5))
    assert vocabulary.last_id == first_id + 4
    shuffled = ids[[3, 0, 4]].reshape(3, 1)
    assert vocabulary.decode(shuffled).tolist() == [[values[i]] for i in (3, 0, 4)]
    assert vocabulary.decode([0]).tolist() == [None]
    assert vocabulary.decode(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize(("first_id", "unknown_id"), [(2, 1), (3, 2), (6, 2)])
def test_null_and_unseen_values_are_unknown(first_id, unknown_id):
    vocabulary = Vocabulary(WORDS, first_id=first_id)
    assert vocabulary.unknown_id == unknown_id
    asked = ["a", None, "never seen"]
    expected = [first_id + 1, unknown_id, unknown_id]
    for values in (asked, pa.array(asked), pl.Series(asked), np.array(asked, object)):
        assert vocabulary.encode(values).tolist() == expected
    assert vocabulary.encode([None]).tolist() == [unknown_id]
    assert vocabulary.decode([unknown_id]).tolist() == [None]


@pytest.mark.parametrize(
    ("held", "asked", "ids"),
    [
        (["a", "b"], pd.Series(["a", np.nan]), [2, 1]),
        (["a", "b"], ["a", pd.NA], [2, 1]),
        (["a", "b"], pd.Series(["a", pd.NA], dtype="string"), [2, 1]),
        ([5, 7], pd.Series([5, pd.NA], dtype="Int64"), [2, 1]),
        ([5, 7], np.ma.masked_array([5, 7], mask=[False, True]), [2, 1]),
        ([5, 300], [np.uint8(5), 300, np.int64(5)], [2, 3, 2]),
        (["a", "b"], pa.RunEndEncodedArray.from_arrays([1, 3], ["a", "b"]), [2, 3, 3]),
    ],
)
def test_values_come_in_any_container(held, asked, ids):
    assert Vocabulary(held).encode(asked).tolist() == ids


@pytest.mark.parametrize("half", [np.float16(0.5), np.longdouble(0.5)])
def test_a_fraction_among_integers_is_no_integer(half):
    # Arrow makes `[1, 0]` of it.
    with pytest.raises(TypeError, match="ids are integers or text"):
        Vocabulary([1, half])


def test_without_an_id_for_unknown_values_they_are_refused():
    vocabulary = Vocabulary(WORDS, first_id=1, name="item")
    assert vocabulary.unknown_id is None
    sentence = r"'item' holds .*no id for unknown values"
    for value in ("never seen", None):
        with pytest.raises(ValueError, match=sentence):
            vocabulary.encode(["a", value])


def test_integers_decode_without_boxes_where_a_filler_is_given():
    vocabulary = Vocabulary([70, 50])
    raw = vocabulary.decode_filled([[3, 0], [2, 1]], -1)
    assert raw.dtype == np.int64 and raw.tolist() == [[50, -1], [70, -1]]


def test_extending_keeps_every_id_once_given():
    before = Vocabulary(WORDS, counts=[9, 8, 7, 6, 5])
    after = before.extend(["new", "a", None, "newer", "new"])
    assert after.encode(WORDS).tolist() == before.encode(WORDS).tolist()
    assert after.encode(["new", "newer"]).tolist() == [7, 8]
    assert after.counts.to_list() == [9, 9, 7, 6, 5, 2, 1]
    counted = before.extend(["a", "new"], counts=[100, 3])
    assert counted.counts.to_list() == [9, 108, 7, 6, 5, 3]
    assert before.encode(["new"]).tolist() == [1] and len(before) == 5
    assert Vocabulary(WORDS).extend(["new"]).counts is None
    for nothing in ([], [None], [""]):
        assert before.extend(nothing) == before
    assert before.extend([], []) == before
    with pytest.raises(ValueError, match="has no counts"):
        Vocabulary(WORDS).extend(["new"], counts=[1])


def test_a_fingerprint_tells_what_ids_mean():
    vocabulary = Vocabulary(WORDS)
    same = [
        Vocabulary(pa.chunked_array([WORDS[:2], WORDS[2:]])),
        Vocabulary(pl.Series(["x", *WORDS])[1:], counts=[1, 2, 3, 4, 5], name="other"),
    ]
    for other in same:
        assert other.fingerprint == vocabulary.fingerprint and other == vocabulary
    others = [
        Vocabulary(WORDS, first_id=3),
        Vocabulary(WORDS[::-1]),
        Vocabulary(WORDS[:4]),
        # The same letters, cut in other places.
        Vocabulary(["ba", *WORDS[2:4], "x", "y"]),
        Vocabulary([1, 2, 3, 4, 5]),
    ]
    assert len({v.fingerprint for v in [vocabulary, *others]}) == len(others) + 1
    assert Vocabulary(["ab", "c"]) != Vocabulary(["a", "bc"])
    longer = vocabulary.extend(["new"])
    assert longer.covers(vocabulary.fingerprint) and longer != vocabulary
    assert not vocabulary.covers(longer.fingerprint)
    assert not longer.covers(others[1].fingerprint) and not longer.covers("nonsense")


def test_the_fingerprint_is_that_of_any_process():
    code = (
        "from keras_t4r.schema import Vocabulary;"
        f"print(Vocabulary({WORDS!r}).fingerprint)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.split()[-1] == Vocabulary(WORDS).fingerprint


def test_living_vocabularies_are_found_by_fingerprint():
    one, two = (Vocabulary(["found", "by", "print"]) for _ in range(2))
    fingerprint = one.fingerprint
    assert two.fingerprint == fingerprint
    assert Vocabulary.living(fingerprint) == one
    del one
    gc.collect()
    assert Vocabulary.living(fingerprint) is two
    del two
    gc.collect()
    assert Vocabulary.living(fingerprint) is None


@pytest.mark.parametrize("counts", [None, [5, 4, 3, 2, 1]])
def test_a_file_gives_the_vocabulary_back(tmp_path, counts):
    vocabulary = Vocabulary(WORDS, counts, first_id=3)
    vocabulary.save(tmp_path / "word.parquet")
    again = Vocabulary.load(tmp_path / "word.parquet")
    assert again == vocabulary and again.name == "word" and again.first_id == 3
    assert (again.counts is None) == (counts is None)
    with pytest.raises(ValueError, match=r"begin at 3, those of column 'word' at 2"):
        Vocabulary.load(tmp_path / "word.parquet", first_id=2)


def test_a_file_that_is_no_whole_vocabulary_is_named(tmp_path):
    path = tmp_path / "word.parquet"
    with pytest.raises(FileNotFoundError, match=r"no vocabulary at .*word\.parquet"):
        Vocabulary.load(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"word\.parquet cannot be read as parquet"):
        Vocabulary.load(path)
    pq.write_table(pa.table({"word": WORDS}), path)
    with pytest.raises(ValueError, match="no column 'value'"):
        Vocabulary.load(path)
    pq.write_table(pa.table({"value": WORDS, "count": WORDS}), path)
    with pytest.raises(TypeError, match=r"counts of column 'word' .* be of integers"):
        Vocabulary.load(path)
    table = Vocabulary(WORDS).to_table()
    pq.write_table(table.take([1, 0, 2, 3, 4]), path)
    with pytest.raises(ValueError, match=r"word\.parquet was changed after"):
        Vocabulary.load(path)


COUNTED = Vocabulary(["a", "b"], counts=[1, 2])


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: Vocabulary([]), ValueError, "no values"),
        (lambda: Vocabulary(["a", None]), ValueError, "Value 1 .* is null"),
        (lambda: Vocabulary(["a", "b", "a"]), ValueError, "'a' stands twice"),
        (lambda: Vocabulary([1.5]), TypeError, "ids are integers or text"),
        (lambda: Vocabulary(["a", 1], name="x"), TypeError, "Column 'x'"),
        (lambda: Vocabulary(["a"], [1, 2]), ValueError, "1 values but 2 counts"),
        (lambda: Vocabulary(["a"], first_id=0), ValueError, "is 0; it should be 1"),
        (lambda: Vocabulary(["a"], first_id=2.7), TypeError, "whole number"),
        (lambda: Vocabulary(["a", "b"], first_id=2**31 - 2), ValueError, "or less"),
        (lambda: Vocabulary("ab"), TypeError, "is a str; pass a list"),
        (
            lambda: Vocabulary(["a"], [1.5]),
            TypeError,
            "counts .* should be of integers",
        ),
        (
            lambda: Vocabulary(["a"], ["x"]),
            TypeError,
            "counts .* should be of integers",
        ),
        (lambda: Vocabulary(["a", "b"], [float("nan"), 1]), ValueError, "0 .* is null"),
        (lambda: Vocabulary(["a", "b"], [None, 2]), ValueError, "Count 0 .* is null"),
        (lambda: Vocabulary(["a", "b"], [-1, 2]), ValueError, "Count 0 .* is -1"),
        (lambda: Vocabulary(["a", "b"], "ab"), TypeError, "counts .* is a str"),
        (lambda: Vocabulary(["a"], 5), TypeError, "counts .* cannot be read"),
        (lambda: COUNTED.extend(["c"], [1, 2]), ValueError, "1 values but 2 counts"),
        (lambda: COUNTED.extend(["c"], [1.5]), TypeError, "should be of integers"),
        (lambda: COUNTED.extend(["c"], [None]), ValueError, "Count 0 .* is null"),
        (lambda: COUNTED.extend(["c"], ["x"]), TypeError, "should be of integers"),
        (lambda: Vocabulary([3]).encode([2**70]), TypeError, "beyond int64"),
        (lambda: Vocabulary([3]).encode(5), TypeError, "cannot be read"),
        (lambda: Vocabulary([3]).decode([[2], [2, 2]]), ValueError, "several lengths"),
        (lambda: Vocabulary(["a"]).encode([3]), TypeError, "vocabulary holds string"),
        (lambda: Vocabulary([3]).encode(["a"]), TypeError, "vocabulary holds int64"),
        (lambda: Vocabulary([3]).decode([3]), ValueError, "lie between 0 and 2"),
        (lambda: Vocabulary([3]).decode([1.0]), TypeError, "Ids are integers"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()


def test_a_request_costs_no_more_where_the_vocabulary_is_large():
    """The least of many short runs, and a wide bound: O(V) would be 200 times."""

    def cost(size):
        vocabulary = Vocabulary([f"item-{i * 7919 % size:07d}" for i in range(size)])
        session = vocabulary.values[:: size // 20].to_list()
        ids = vocabulary.encode(session)

        def least(function, argument):
            times = []
            for _ in range(200):
                start = time.perf_counter()
                function(argument)
                times.append(time.perf_counter() - start)
            return min(times)

        return least(vocabulary.encode, session), least(vocabulary.decode, ids)

    small, large = cost(1_000), cost(200_000)
    for few, many in zip(small, large, strict=True):
        assert many < 8 * few


BAD_FILES = [
    ({"value": ["a", None]}, "Value 1 of the vocabulary of column 'x' is null"),
    ({"value": ["a", "a"]}, "Value 'a' stands twice"),
    ({"value": [1.5, 2]}, "Column 'x' holds values of type"),
    ({"value": pa.array([], "string")}, "The vocabulary of column 'x' has no values"),
    ({"value": ["a", "b"], "count": [1, None]}, "Count 1 of column 'x' is null"),
    ({"value": ["a", "b"], "count": [1, -1]}, "Count 1 of column 'x' is -1"),
    ({"value": ["a", "b"], "count": [1.5, 2]}, "counts of column 'x' is of type"),
    ({"value": ["a", "b"], "count": ["1", "2"]}, "counts of column 'x' is of type"),
    ({"value": ["a"], "count": [[1]]}, "counts of column 'x' is of type"),
    ({"value": ["a"], "count": pa.array([2**63], "uint64")}, "beyond int64"),
    ({"word": ["a"]}, "has no column 'value'"),
]


@pytest.mark.parametrize(("columns", "sentence"), BAD_FILES)
def test_a_bad_file_is_named_beside_its_column(columns, sentence, tmp_path):
    path = tmp_path / "kind.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises((TypeError, ValueError), match=sentence) as error:
        Vocabulary.load(path, name="x")
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    with pytest.raises((TypeError, ValueError), match=r"^the table"):
        Vocabulary.from_table(pa.table(columns), name="x")


def test_what_is_no_table_is_told_so():
    with pytest.raises(TypeError, match=r"the table .* it should be a pyarrow\.Table"):
        Vocabulary.from_table({"value": ["a"]})


def test_counts_by_id():
    vocabulary = Vocabulary(["b", "a", "c"], counts=[5, 3, 0], first_id=2)
    assert vocabulary.counts_by_id().tolist() == [0, 0, 5, 3, 0]
    with pytest.raises(ValueError, match="'kind' has no counts"):
        Vocabulary(["b"], name="kind").counts_by_id()
