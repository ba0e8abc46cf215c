"""What an ETL learns from a log, as JSON and parquet."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from keras_t4r.data.etl.config import RECENCY, ETLConfig
from keras_t4r.files import Known, as_path, one_of_names
from keras_t4r.files.known import does_not_say
from keras_t4r.files.parquet import read_parquet, write_parquet
from keras_t4r.files.sentences import first_line
from keras_t4r.schema.standardised import standardised_by
from keras_t4r.schema.vocabulary import FIRST_ID, Vocabulary

WORKFLOW_FOLDER = "workflow"
STATE_FILE = "etl.json"
_FORMAT = "keras_t4r.SessionETL/2"
# The first time of padding and unknown items: later than any click, so that
# their age is 0.
_NEVER = 2**62


@dataclass
class ETLState:
    """Fitted state.

    Args:
        kinds: dict. `"int64"`, `"float64"` or `"string"` of each raw column.
        origin: int. Start of window 1, in microseconds since 1970.
        moments: dict. Mean and standard deviation of each number.
        vocabularies: dict. `Vocabulary` of each id column.
        first_times: int64 array. First click of each item, by item id.
    """

    kinds: dict
    origin: int
    moments: dict
    vocabularies: dict
    first_times: np.ndarray

    @staticmethod
    def first_times_by_id(vocabulary, values, times):
        """Spreads first times of raw items over their ids."""
        first = np.full(vocabulary.last_id + 1, _NEVER, np.int64)
        first[vocabulary.encode(values)] = times.to_numpy()
        first[:FIRST_ID] = _NEVER  # Items too rare for an id landed here.
        return first

    def encodings(self, config):
        """Dict of column to its `Vocabulary`, or to the text of what its numbers were
        standardised by."""
        numbers = {name: standardised_by(*m) for name, m in self.moments.items()}
        if config.recency:
            moments = self.moments[RECENCY]
            numbers[RECENCY] = standardised_by(*moments, self._first_times_digest)
        return {**self.vocabularies, **numbers}

    @cached_property
    def _first_times_digest(self):
        times = self.first_times[FIRST_ID:].astype("<i8").tobytes()
        return hashlib.sha256(times).hexdigest()[:32]

    def save(self, folder, config):
        """Writes `etl.json` and one parquet file a vocabulary."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, vocabulary in self.vocabularies.items():
            table = vocabulary.to_table()
            if name == config.item:
                times = pa.array(self.first_times[FIRST_ID:])
                table = table.append_column("first_time", times)
            write_parquet(table, folder / f"{name}.parquet")
        content = {
            "config": asdict(config),
            "kinds": self.kinds,
            "origin": self.origin,
            "moments": self.moments,
        }
        content = {"format": _FORMAT, "digest": _digest(content), **content}
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / STATE_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder):
        """Reads what `save` wrote.

        Returns:
            The `ETLConfig` and the `ETLState`.
        """
        folder = as_path(folder, "a fitted ETL")
        path = folder / STATE_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no fitted ETL in {folder} (no {STATE_FILE})."
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {first_line(error)}.") from error
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise ValueError(
                f"{path} is not the state of a SessionETL ({_FORMAT}); it may come "
                "from another version."
            )
        if content.pop("digest", None) != _digest(content):
            raise ValueError(
                f"{path} is damaged, or was changed after it was written: fit again."
            )
        config = _check(content, path)
        tables = {name: _read(folder / f"{name}.parquet") for name in config.ids}
        vocabularies = {
            name: Vocabulary.from_table(
                table, FIRST_ID, name, where=str(folder / f"{name}.parquet")
            )
            for name, table in tables.items()
        }
        if "first_time" not in tables[config.item].column_names:
            raise ValueError(
                f"{folder / f'{config.item}.parquet'} lacks the items' first times: "
                "fit again, and save."
            )
        items = vocabularies[config.item]
        first_times = cls.first_times_by_id(
            items, items.values, pl.from_arrow(tables[config.item]["first_time"])
        )
        moments = {name: tuple(m) for name, m in content["moments"].items()}
        state = cls(
            content["kinds"], content["origin"], moments, vocabularies, first_times
        )
        return config, state


def id_columns(folder):
    """Names of the columns of whose ids a saved ETL, which is in a folder, has files.

    Raises:
        FileExistsError: the file that names them is damaged.
    """
    try:
        config = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))["config"]
        names = [
            config["item"],
            *config["categorical"],
            *config["context_categorical"],
        ]
        return [str(name) for name in names]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise does_not_say(folder, STATE_FILE) from error


def state_files(folder):
    """A regular expression of the files of a saved ETL, which is in a folder."""
    names = [f"{name}.parquet" for name in id_columns(folder)]
    return one_of_names([STATE_FILE, *names])


SAVED_ETL = Known(STATE_FILE, state_files)


def _check(content, path):
    """The `ETLConfig` of a state that fits it; a file may come from anywhere."""
    names = {field.name for field in fields(ETLConfig)}
    if not _has_types(content) or set(content["config"]) != names:
        raise ValueError(
            f"{path} does not hold what a SessionETL writes: fit again, and save."
        )
    config = ETLConfig(**content["config"])
    kinds, moments = content["kinds"], content["moments"]
    numbers = [*config.numbers, *([RECENCY] if config.recency else [])]
    if (
        set(kinds) != set(config.raw_columns)
        or not set(kinds.values()) <= {"int64", "float64", "string"}
        or {kinds[name] for name in config.numbers} - {"float64"}
        or "float64" in {kinds[name] for name in (config.session, *config.ids)}
        or set(moments) != set(numbers)
        or not all(map(_is_moments, moments.values()))
        or not abs(content["origin"]) < _NEVER
    ):
        raise ValueError(
            f"{path} has other kinds, moments or times than its columns need: fit "
            "again, and save."
        )
    return config


def _has_types(content):
    types = {"config": dict, "kinds": dict, "origin": int, "moments": dict}
    return {name: type(value) for name, value in content.items()} == types and all(
        isinstance(kind, str) for kind in content["kinds"].values()
    )


def _is_moments(pair):
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(type(value) is float and math.isfinite(value) for value in pair)
        and pair[1] > 0
    )


def _digest(content):
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path):
    if not path.is_file():
        raise FileNotFoundError(f"The fitted ETL lacks its vocabulary {path}.")
    return read_parquet(path, "fit again")
