"""1. Raw clicks → sessions by day.

    python examples/etl.py clicks.csv sessions/

The log has one row a click. Name its columns; the rest is done: repeats dropped,
ids encoded, time features made, sessions built, written by day.
"""

import argparse

import keras_t4r as t4r


def make_sessions(clicks, folder, columns, window="1d", overwrite=False):
    """Writes `folder/<day>/sessions.parquet`, the schema and the fitted workflow."""
    etl = t4r.SessionETL(
        session=columns["session"],
        time=columns["time"],
        item=columns["item"],
        categorical=columns.get("categorical", ()),
        time_unit=columns.get("time_unit"),
        window=window,
        min_length=2,
        max_length=20,
    )
    etl.write(clicks, folder, overwrite=overwrite)
    return etl


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("clicks")
    parser.add_argument("folder")
    arguments = parser.parse_args()
    # YOOCHOOSE's clicks have no header line, so the columns are named here.
    log = t4r.ClickLog(
        arguments.clicks, columns=["session_id", "timestamp", "item_id", "category"]
    )
    make_sessions(
        log,
        arguments.folder,
        {
            "session": "session_id",
            "time": "timestamp",
            "item": "item_id",
            "categorical": ["category"],
        },
    )
