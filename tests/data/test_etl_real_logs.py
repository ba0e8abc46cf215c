"""SessionETL on real logs of several shapes."""

import tarfile

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL


def test_yoochoose_in_fractional_seconds(shared_data, tmp_path):
    path = shared_data / "rsc15_100k" / "yoochoose-clicks-100k_train_full.txt.gz"
    etl = SessionETL("SessionId", "Time", "ItemId", time_unit="s")
    sizes = etl.write(path, tmp_path / "out", split=(0.8, 0.1, 0.1), progress=False)
    raw = pl.read_csv(path, separator="\t").sort("SessionId", "Time")
    counts = raw.group_by("SessionId").agg(
        (pl.col("ItemId") != pl.col("ItemId").shift(1)).fill_null(True).sum()
    )
    assert sum(sizes.values()) == (counts["ItemId"] >= 2).sum()
    some = pq.read_table(tmp_path / "out" / str(min(sizes)) / "train.parquet")
    row = some.slice(0, 1).to_pylist()[0]
    clicks = raw.filter(pl.col("SessionId") == row["SessionId"])
    micros = round(clicks["Time"][0] * 1e6)
    assert pl.Series([row["start"]]).dt.timestamp("us")[0] == micros
    assert micros % 1_000_000  # The fraction is kept.
    items = etl.decode(row["ItemId"])
    assert items[-1] == clicks["ItemId"][-1] and items[0] == clicks["ItemId"][0]


def test_a_request_of_raw_rows_equals_the_training_files(shared_data, tmp_path):
    columns = ["session_id", "timestamp", "item_id", "category"]
    log = ClickLog(
        shared_data / "raw_samples" / "yoochoose-clicks_nodesense.csv.gz", columns
    )
    etl = SessionETL(*columns[:3], categorical=columns[3:])
    etl.write(log, tmp_path / "out", progress=False)
    served = SessionETL.load(tmp_path / "out" / "workflow")
    raw = pl.read_csv(
        log.files[0], has_header=False, new_columns=columns, infer_schema_length=None
    )
    rows = pq.read_table(tmp_path / "out" / "2" / "sessions.parquet").to_pylist()
    assert len(rows) > 100
    for want in rows[::20]:
        request = raw.filter(pl.col("session_id") == want["session_id"])
        assert served.transform(request.to_dict(as_series=False)).to_pylist() == [want]


def test_news_clicks_by_the_hour(shared_data, tmp_path):
    with tarfile.open(shared_data / "globo_g1_clicks_h000-h191.tar.xz") as archive:
        for member in (archive.next() for _ in range(4)):
            if member.isfile():
                target = tmp_path / member.name.rpartition("/")[2]
                target.write_bytes(archive.extractfile(member).read())
    files = sorted(tmp_path.glob("*.csv"))
    assert len(files) >= 2
    etl = SessionETL(
        "session_id",
        "click_timestamp",
        "click_article_id",
        categorical=["click_environment"],
        context_categorical=["click_country"],
        context_continuous=["session_size"],
        time_unit="ms",
        time_features=["hour_sin", "hour_cos"],
        window="1h",
        max_length=4,
    )
    sizes = etl.write(tmp_path / "*.csv", tmp_path / "out", progress=False)
    assert min(sizes) == 1 and len(sizes) > 1
    raw = pl.concat([pl.read_csv(file) for file in files])
    hours = raw.group_by("session_id").agg(pl.col("click_timestamp").min() // 3_600_000)
    hours = dict(hours.iter_rows())
    first = min(hours.values())
    for window in sizes:
        table = pq.read_table(tmp_path / "out" / str(window) / "sessions.parquet")
        for session in table["session_id"].to_pylist():
            assert hours[session] - first + 1 == window
        lengths = [len(items) for items in table["click_article_id"].to_pylist()]
        whole = table["length"].to_numpy()
        assert lengths == np.minimum(whole, 4).tolist()


def test_views_with_semicolons_and_dates(shared_data):
    path = shared_data / "raw_samples" / "sample_train-item-views.csv.gz"
    by_offset = SessionETL("session_id", "timeframe", "item_id", time_unit="ms")
    by_date = SessionETL("session_id", "eventdate", "item_id")
    assert (
        by_offset.fit_transform(path).num_rows == by_date.fit_transform(path).num_rows
    )
    assert by_date.input_columns["eventdate"] == "string"
    assert (
        len(by_date.vocabulary("item_id"))
        == pl.read_csv(path, separator=";")["item_id"].n_unique()
    )
