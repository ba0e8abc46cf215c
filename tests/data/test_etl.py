"""SessionETL: what ends up in a session, and what decides it."""

import hashlib
from datetime import datetime, timezone

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.schema import Schema, Tags

DAY = 86_400


def make_clicks(count=400, seed=0):
    rng = np.random.default_rng(seed)
    sessions = rng.integers(100, 100 + count // 5, count)
    return pl.DataFrame(
        {
            "visit": sessions,
            # No two times are the same, so that the order of rows is free.
            "seconds": 1_600_000_000 + rng.permutation(5 * DAY)[:count] / 4,
            "product": [f"p{i}" for i in rng.zipf(1.5, count) % 40],
            "price": rng.normal(50, 10, count),
            "country": np.array(["de", "fr", "gb"])[sessions % 3],
            "age": (sessions % 7).astype(float),
        }
    )


def make_etl(**options):
    arguments = dict(
        session="visit",
        time="seconds",
        item="product",
        continuous=["price"],
        context_categorical=["country"],
        context_continuous=["age"],
        time_unit="s",
    )
    return SessionETL(**{**arguments, **options})


def tiny(items, seconds=None, session=1):
    seconds = range(len(items)) if seconds is None else seconds
    return {"s": [session] * len(items), "t": list(seconds), "i": list(items)}


def tiny_etl(**options):
    return SessionETL("s", "t", "i", time_unit="s", **options)


def files(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_repeats_are_dropped_and_the_newest_clicks_kept_in_time_order():
    clicks = tiny([7, 5, 5, 6, 8, 8], seconds=[50, 10, 20, 30, 40, 45])
    etl = tiny_etl(max_length=3).fit(clicks)
    table = etl.transform(clicks)
    assert etl.decode(table["i"][0].as_py()).tolist() == [6, 8, 7]
    assert table["length"].to_pylist() == [4]
    kept = tiny_etl(drop_repeats=False).fit(clicks).transform(clicks)
    assert kept["length"].to_pylist() == [6]


def test_clicks_at_one_time_stay_in_the_order_of_the_rows():
    clicks = tiny([9, 4, 7, 2, 8], seconds=[5, 5, 5, 5, 5])
    etl = tiny_etl().fit(clicks)
    assert etl.decode(etl.transform(clicks)["i"][0].as_py()).tolist() == [9, 4, 7, 2, 8]


def test_ids_go_from_most_to_least_frequent_and_rare_items_are_unknown():
    clicks = tiny([5, 9, 5, 9, 5, 3, 1, 3])
    etl = tiny_etl(min_count=2).fit(clicks)
    assert etl.vocabulary("i").values.to_list() == [5, 3, 9]
    assert etl.transform(clicks)["i"].to_pylist() == [[2, 4, 2, 4, 2, 3, 1, 3]]


def test_unknown_items_have_age_zero_and_known_ones_their_days():
    clicks = tiny([5, 9, 5], seconds=[0, DAY, 3 * DAY])
    etl = tiny_etl().fit(clicks)
    mean, deviation = np.mean([0, 0, np.log(4)]), np.std([0, 0, np.log(4)], ddof=1)
    request = tiny([77, 5], seconds=[4 * DAY, 4 * DAY])
    np.testing.assert_allclose(
        etl.transform(request)["recency_log_norm"][0].as_py(),
        [-mean / deviation, (np.log(5) - mean) / deviation],
        rtol=1e-6,
    )


def test_time_features_follow_the_clock():
    names = ("dayofweek_sin", "dayofweek_cos", "hour_sin", "hour_cos")
    etl = tiny_etl(time_features=names)
    # A Wednesday, six in the evening.
    time = datetime(2023, 11, 15, 18, tzinfo=timezone.utc).timestamp()
    table = etl.fit_transform(tiny([1], seconds=[time]))
    week = 2 * np.pi * 2 / 7
    want = [np.sin(week), np.cos(week), -1, 0]
    got = [table[name][0].as_py()[0] for name in names]
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("1d", [1, 2, 3]),
        ("2d", [1, 1, 2]),
        ("12h", [1, 1, 4]),  # From 15:00, the hour of the first click.
        ("30m", [1, 17, 89]),  # From 15:40, its minute.
    ],
)
def test_windows_start_with_the_unit_in_which_the_log_begins(window, expected):
    start = datetime(2023, 1, 1, 15, 40, 7, tzinfo=timezone.utc).timestamp()
    seconds = [start, start + 30_000, start + 160_000]
    clicks = {"s": [1, 2, 3], "t": seconds, "i": [1, 2, 3]}
    table = tiny_etl(window=window).fit_transform(clicks)
    assert table["window"].to_pylist() == expected


def test_numbers_are_standardised_and_null_becomes_zero():
    clicks = make_clicks().with_columns(
        pl.when(pl.col("price") > 55)
        .then(None)
        .otherwise(pl.col("price"))
        .alias("price")
    )
    etl = make_etl(drop_repeats=False, max_length=1000).fit(clicks)
    table = etl.transform(clicks)
    values = np.concatenate(table["price"].to_pylist())
    known = values[values != 0]
    assert (values == 0).sum() == clicks["price"].null_count() > 0
    assert abs(known.mean()) < 1e-6 and abs(known.std(ddof=1) - 1) < 1e-5
    assert abs(np.std(table["age"].to_numpy(), ddof=1) - 1) < 1e-5


def test_context_is_the_first_value_of_the_session():
    clicks = {"s": [1, 1, 2], "t": [9, 3, 4], "i": [1, 2, 3], "c": ["x", "y", "z"]}
    etl = tiny_etl(context_categorical="c").fit(clicks)
    table = etl.transform(clicks)
    assert etl.decode(table["c"].to_numpy(), "c").tolist() == ["y", "z"]
    assert etl.vocabulary("c").values.to_list() == ["y", "z"]


@pytest.mark.parametrize(
    ("unit", "convert"),
    [
        ("s", lambda micros: micros / 1e6),
        ("ms", lambda micros: micros // 1000),
        ("us", lambda micros: micros),
        ("ns", lambda micros: micros * 1000),
    ],
)
def test_every_way_to_write_a_time_gives_the_same_sessions(unit, convert):
    clicks = make_clicks()
    micros = (clicks["seconds"] * 1e6).cast(pl.Int64)
    zone = pl.Series(micros).cast(pl.Datetime("us", "UTC"))
    numeric = clicks.with_columns(convert(micros).alias("seconds"))
    expected = make_etl(time_unit=unit).fit_transform(numeric)
    for times in (
        zone,
        zone.dt.convert_time_zone("Asia/Tokyo"),
        zone.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
        zone.dt.strftime("%Y-%m-%d %H:%M:%S%.6f"),
        zone.dt.convert_time_zone("Asia/Tokyo").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z"),
    ):
        other = clicks.with_columns(times.alias("seconds"))
        assert make_etl(time_unit=None).fit_transform(other).equals(expected)
    assert expected["start"][0].as_py().year == 2020


def test_files_do_not_depend_on_the_order_of_the_rows(tmp_path):
    clicks = make_clicks()
    for name, seed in (("a", 1), ("b", 2)):
        shuffled = clicks.sample(fraction=1, shuffle=True, seed=seed)
        make_etl().write(
            shuffled, tmp_path / name, split=(0.5, 0.3, 0.2), progress=False
        )
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_log_in_parts_gives_the_files_of_a_log_in_memory(tmp_path):
    clicks = make_clicks(2000)
    for part, rows in enumerate(clicks.iter_slices(700)):
        rows.write_parquet(tmp_path / f"clicks-{part}.parquet")
    make_etl().write(clicks, tmp_path / "whole", progress=False)
    parts = make_etl(rows_in_memory=300)
    parts.write(tmp_path / "clicks-*.parquet", tmp_path / "parts", progress=False)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert files(whole).keys() == files(parts).keys()
    for path in whole.rglob("*.parquet"):
        # Sums over parts differ from sums over the whole in the last digits.
        a, b = pl.read_parquet(path), pl.read_parquet(parts / path.relative_to(whole))
        assert_frame_equal(a, b, rel_tol=1e-5, abs_tol=1e-6)


def test_a_split_is_disjoint_complete_seeded_and_about_its_fractions(tmp_path):
    clicks = make_clicks(20_000)
    drawn = {}
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        make_etl().write(
            clicks, folder, split=(0.8, 0.1, 0.1), seed=seed, progress=False
        )
        for name in ("train", "valid", "test"):
            drawn[seed, name] = {
                session
                for path in folder.glob(f"*/{name}.parquet")
                for session in pq.read_table(path)["visit"].to_pylist()
            }
    total = sum(len(drawn[0, name]) for name in ("train", "valid", "test"))
    assert len(set.union(*(drawn[0, n] for n in ("train", "valid", "test")))) == total
    assert abs(len(drawn[0, "train"]) / total - 0.8) < 0.03
    assert abs(len(drawn[0, "valid"]) / total - 0.1) < 0.03
    assert drawn[0, "test"] != drawn[1, "test"]


def test_text_sessions_split_evenly_too():
    from keras_t4r.data.etl.split import hash_to_unit

    names = pl.Series([f"session-{i}" for i in range(20_000)] + ["", "é", "ab", "ba"])
    draws = hash_to_unit(names, seed=3)
    assert len(np.unique(draws)) == len(names)
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    assert np.abs(counts - 2000).max() < 200
    np.testing.assert_array_equal(draws[::-1], hash_to_unit(names[::-1], seed=3))
    assert abs(np.corrcoef(draws, hash_to_unit(names, seed=4))[0, 1]) < 0.03


def test_the_folder_holds_schema_vocabularies_workflow_and_windows(tmp_path):
    etl = make_etl()
    sizes = etl.write(make_clicks(), tmp_path / "out", progress=False)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"schema.pbtxt", "vocabularies", "workflow", *map(str, sizes)}
    schema = Schema.load(tmp_path / "out" / "schema.pbtxt")
    assert schema.columns == etl.schema.columns
    assert schema.item_id == "product" and schema.session_id == "visit"
    assert schema["product"].value_count == (2, 20)
    assert schema["product"].first_id == 2
    assert schema.vocabulary("product") == etl.vocabulary("product")
    assert not schema["country"].is_list and Tags.CONTEXT in schema["country"].tags
    assert schema["price"].is_continuous and schema["age"].is_continuous
    table = pq.read_table(tmp_path / "out" / "1" / "sessions.parquet")
    assert set(schema.names) | {"window", "length", "start"} == set(table.column_names)
    assert table.schema.field("product").type == pa.list_(pa.int32())
    assert table.schema.field("price").type == pa.list_(pa.float32())
    assert table.schema.field("country").type == pa.int32()
    assert table.schema.field("visit").type == pa.int64()
    assert max(table["length"].to_pylist()) >= min(table["length"].to_pylist()) >= 2
    assert table["product"][0].as_py()[0] < schema["product"].cardinality


def test_a_saved_etl_comes_back_and_holds_no_pickle(tmp_path):
    clicks = make_clicks()
    etl = make_etl(max_length=4, min_count=2, window="6h").fit(clicks)
    etl.save(tmp_path / "etl")
    etl.save(tmp_path / "etl")  # Over itself, which is allowed.
    again = SessionETL.load(tmp_path / "etl")
    assert again.transform(clicks).equals(etl.transform(clicks))
    assert again.config == etl.config and again.schema == etl.schema
    assert again.input_columns == etl.input_columns
    assert {path.suffix for path in (tmp_path / "etl").iterdir()} == {
        ".json",
        ".parquet",
    }
    later = make_clicks(seed=9)
    written = SessionETL.load(tmp_path / "etl")
    assert written.write(later, tmp_path / "a", progress=False) == etl.write(
        later, tmp_path / "b", progress=False
    )
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_request_gives_what_the_files_hold(tmp_path):
    clicks = make_clicks(3000)
    etl = make_etl()
    etl.write(clicks, tmp_path / "out", progress=False)
    etl = SessionETL.load(tmp_path / "out" / "workflow")
    rows = pa.concat_tables(
        pq.read_table(path) for path in (tmp_path / "out").glob("*/sessions.parquet")
    ).to_pylist()
    log = {row["visit"]: row for row in rows}
    some = list(log)[3:9]
    raw = clicks.filter(pl.col("visit").is_in(some))
    request = {name: raw[name].to_numpy() for name in raw.columns}
    answer = etl.transform(request)
    assert answer.schema.equals(pq.read_schema(next(tmp_path.glob("out/1/*.parquet"))))
    assert answer["visit"].to_pylist() == list(dict.fromkeys(raw["visit"].to_list()))
    assert [log[row["visit"]] for row in answer.to_pylist()] == answer.to_pylist()


FORMS = ["pandas", "arrow", "lazy", "dict", "rows", "columns", "csv"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_clicks_gives_the_same_sessions(form, tmp_path):
    clicks = make_clicks()
    expected = make_etl().fit_transform(clicks)
    if form == "pandas":
        given = clicks.to_pandas()
    elif form == "arrow":
        given = clicks.to_arrow()
    elif form == "lazy":
        given = clicks.lazy()
    elif form == "dict":
        given = clicks.to_dict(as_series=False)
    elif form == "rows":
        given = clicks.to_dicts()
    elif form == "columns":  # As Triton hands them over: (rows, 1), text in bytes.
        given = {c: clicks[c].to_numpy()[:, None] for c in clicks.columns}
        given["product"] = np.array(
            [[p.encode()] for p in clicks["product"]], dtype=object
        )
    else:
        given = tmp_path / "clicks.csv"
        clicks.write_csv(given)
    assert make_etl().fit_transform(given).equals(expected)


def test_ids_in_text_files_are_integers_only_where_all_are_written_as_such(tmp_path):
    path = tmp_path / "clicks.tsv"
    path.write_text("s\tt\ti\tc\tz\n1\t5\t07\t1\t3\n1\t6\t7\tS\t4\n")
    etl = SessionETL("s", "t", "i", ["c", "z"], time_unit="s").fit(path)
    assert etl.input_columns == {
        "s": "int64",
        "t": "int64",
        "i": "string",
        "c": "string",
        "z": "int64",
    }
    assert etl.vocabulary("i").values.to_list() == ["07", "7"]


def test_a_folder_of_logs_is_read_whole_in_the_order_of_the_names(tmp_path):
    (tmp_path / "b.csv").write_text("i,s,t\n3,1,0\n")
    (tmp_path / "a.csv").write_text("s,t,i\n1,0,2\n")
    (tmp_path / "notes.md").write_text("not clicks")
    etl = tiny_etl().fit(tmp_path)
    assert etl.decode(etl.transform(tmp_path)["i"][0].as_py()).tolist() == [2, 3]
    assert len(ClickLog(tmp_path).files) == 2


def test_a_dropped_repeat_names_its_session_all_the_same():
    etl = tiny_etl().fit({"s": [1, 1, 1], "t": [1, 2, 3], "i": [4, 5, 6]})
    # Newest first, as logs are often asked: 70 reloads what it saw before.
    rows = {"s": [70, 50, 70], "t": [900, 800, 700], "i": [4, 5, 4]}
    table = etl.transform(rows)
    assert table["s"].to_pylist() == [70, 50]
    assert etl.decode(table["i"][0].as_py()).tolist() == [4]


def test_encoding_few_values_and_many_is_the_same():
    from keras_t4r.schema.vocabulary import Vocabulary

    rng = np.random.default_rng(0)
    raw = rng.choice(10_000, 1000, replace=False)
    for values in (pl.Series(raw), pl.Series([f"é{v}" for v in raw])):
        vocabulary = Vocabulary(values, [1] * 1000)
        asked = pl.concat(
            [values, values[:5] + values[:5], pl.Series([None], dtype=values.dtype)]
        )
        many = vocabulary.encode(asked)
        few = np.concatenate(
            [vocabulary.encode(asked[i : i + 3]) for i in range(0, 1006, 3)]
        )
        np.testing.assert_array_equal(few, many)
        np.testing.assert_array_equal(many[:1000], np.arange(2, 1002))
        assert (
            many[-1] == 1
            and vocabulary.decode(many[:1000]).tolist() == values.to_list()
        )


def test_no_rows_give_an_empty_table_of_the_right_types():
    clicks = make_clicks()
    etl = make_etl().fit(clicks)
    empty = {name: [] for name in clicks.columns}
    table = etl.transform(empty)
    assert table.num_rows == 0
    assert table.schema.equals(etl.transform(clicks).schema)
    assert etl.transform(clicks.head(0)).schema.equals(table.schema)
