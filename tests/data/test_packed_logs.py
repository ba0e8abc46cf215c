"""Text logs that are packed are read as those that are not."""

import gzip
import zlib

import pyarrow as pa
import pytest

from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL


def etl(**options):
    options = {"time_unit": "s", "recency": False, "time_features": (), **options}
    return SessionETL("s", "t", "i", drop_repeats=False, **options)


def clicks_of(log):
    return sum(etl().fit_transform(log)["length"].to_pylist())


def zstd(text):
    return pa.compress(text, codec="zstd", asbytes=True)


PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstd, ".zstd": zstd}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_blank_lines_are_passed_over_and_counted_out(end, packed, mark, tmp_path):
    text = end.join([f"{mark}s,t,i", "", "1,1,7", "", "", "1,2,8", "2,3,7", "", ""])
    path = tmp_path / f"a.csv{packed}"
    path.write_bytes(PACK[packed](text.encode()))
    assert ClickLog(tmp_path).files == [path]
    log = ClickLog(path)
    assert log.names() == ["s", "t", "i"] and log.rows() == 3
    assert etl().fit_transform(log)["length"].to_pylist() == [2, 1]
    headless = ClickLog(path, columns=["s", "t", "i"])
    assert headless.rows() == 4


@pytest.mark.parametrize(
    "damaged",
    [
        gzip.compress(b"s,t,i\n" + b"".join(b"1,%d,7\n" % n for n in range(99)))[:120],
        b"\x1f\x8b" + bytes(60),
        zlib.compress(b"s,t,i\n1,1,7\n"),
        b"s,t,i\n1,1,7\n",
    ],
    ids=["cut", "zeros", "zlib", "not zipped"],
)
def test_damaged_zips_get_one_sentence(damaged, tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"a\.csv\.gz cannot be read .* damaged"):
        etl().fit(path)


@pytest.mark.parametrize("cut", [5, -1, -40])
def test_damaged_zstd_gets_one_sentence(cut, tmp_path):
    path = tmp_path / "a.csv.zst"
    path.write_bytes(
        zstd(b"s,t,i\n" + b"".join(b"1,%d,7\n" % n for n in range(99)))[:cut]
    )
    with pytest.raises(ValueError, match=r"a\.csv\.zst cannot be read .* damaged"):
        etl().fit(path)


def test_parts_that_were_packed_one_after_the_other_are_all_read(tmp_path):
    for suffix in (".gz", ".zst"):
        path = tmp_path / f"a.csv{suffix}"
        parts = [b"s,t,i\n1,1,7\n", b"1,2,8\n", b"1,3,9\n"]
        path.write_bytes(b"".join(map(PACK[suffix], parts)))
        for log in (ClickLog(path), ClickLog(path, quote='"')):
            assert clicks_of(log) == 3
