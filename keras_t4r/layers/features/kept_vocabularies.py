"""The vocabularies that a layer of features keeps for its model."""

import json
from pathlib import Path

import numpy as np

from keras_t4r.files import is_plain
from keras_t4r.schema import Vocabulary
from keras_t4r.schema.encoded_ids import encodings_of, numbers_of
from keras_t4r.schema.standardised import same_numbers

# Where a file of weights says whose ids the rows of the tables are.
_SIGNATURE = "vocabularies"


class KeptVocabularies:
    """The vocabularies of columns, of which a config says the fingerprints only.

    A layer that is made from a config (`from_config`, `clone_model`) finds its
    vocabularies among those that live in this process. In another process they come
    with the assets of a `.keras` file; until then the layer knows that it lacks them,
    and raises rather than take raw ids for encoded ones.

    Args:
        vocabularies: dict of column to `Vocabulary`, or to its fingerprint.
        schema: `Schema`, of the columns.

    Raises:
        ValueError: a column has no ids, or not as many as the vocabulary.
    """

    def __init__(self, vocabularies, schema):
        self.fingerprints, self._held = {}, {}
        self._schema, self._numbers = schema, numbers_of(schema)
        self._refused = None
        for name, vocabulary in vocabularies.items():
            if not schema[name].is_categorical:
                raise ValueError(
                    f"Column {name!r} has no ids, so it needs no vocabulary."
                )
            if isinstance(vocabulary, str):
                self.fingerprints[name] = vocabulary
            else:
                _check_size(vocabulary, schema[name])
                self.fingerprints[name] = vocabulary.fingerprint
                self._held[name] = vocabulary
        for name in self.fingerprints:
            self._find(name)

    @classmethod
    def of_schema(cls, schema, features):
        """The vocabularies of a schema, for some columns."""
        columns = [column.name for column in features if column.is_categorical]
        found = {name: schema.vocabulary(name) for name in columns}
        return cls({k: v for k, v in found.items() if v is not None}, features)

    def get(self, name):
        """The `Vocabulary` of a column, or `None` where it has none.

        Raises:
            ValueError: it has one, but that is not in this process.
        """
        if name not in self.fingerprints:
            return None
        vocabulary = self._find(name)
        if vocabulary is None:
            raise ValueError(
                f"The vocabulary of column {name!r} is not here, so raw ids cannot be "
                "told from encoded ones: this layer was made from a config, which "
                "holds no values. Load the model from its .keras file, or read the "
                "vocabulary with Vocabulary.load before (its fingerprint is "
                f"{self.fingerprints[name]})."
            )
        return vocabulary

    def told(self):
        """What `encodings_of` the columns says, with the fingerprint of a vocabulary
        that is not in this process."""
        found = {name: self._find(name) or f for name, f in self.fingerprints.items()}
        return encodings_of(self._schema, found)

    def _find(self, name):
        if name not in self._held:
            vocabulary = Vocabulary.living(self.fingerprints[name])
            if vocabulary is None:
                return None
            self._held[name] = vocabulary
        return self._held[name]

    def sign(self, store):
        """Writes beside the weights that go into a file what encoded the columns."""
        encodings = {**self._numbers, **self.fingerprints}
        if encodings:
            text = json.dumps(encodings).encode()
            store[_SIGNATURE] = np.frombuffer(text, "uint8")

    def check_signed(self, held):
        """Takes from among a file's weights what `sign` wrote; older files have none.

        Raises:
            ValueError: the weights are of another vocabulary, or of numbers that were
                standardised otherwise.
        """
        signature = held.pop(_SIGNATURE, None)
        if signature is None:
            return
        written = json.loads(np.asarray(signature, "uint8").tobytes())
        self._refused = None
        for name, fingerprint in self.fingerprints.items():
            if written.get(name, fingerprint) != fingerprint:
                self._refused = ValueError(
                    f"The weights are of a model with another vocabulary of column "
                    f"{name!r} ({written[name]} and {fingerprint}), so rows of their "
                    "tables mean other values: load them into a model of the schema "
                    "that they were trained with."
                )
                raise self._refused
        for name, encoding in self._numbers.items():
            if not same_numbers(written.get(name, encoding), encoding):
                self._refused = ValueError(
                    f"The weights are of a model whose numbers of column {name!r} were "
                    f"standardised otherwise (by {written[name]}, and by {encoding}): "
                    "load them into a model of the schema that they were trained with."
                )
                raise self._refused

    def raise_refused(self):
        """Raises, once, what `check_signed` did.

        Keras visits a layer that failed again where it finds it in another way, and
        forgets the failure there, for it finds no weights that could be wrong.
        """
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    def save(self, folder):
        """Writes one parquet file a column."""
        for name in self.fingerprints:
            self.get(name).save(_path(folder, name))

    def load(self, folder):
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file holds another vocabulary than the config's.
        """
        for name, fingerprint in self.fingerprints.items():
            path = _path(folder, name)
            vocabulary = Vocabulary.load(path, name=name)
            if vocabulary.fingerprint != fingerprint:
                raise ValueError(
                    f"{path} is not the vocabulary of column {name!r} that the model "
                    f"was saved with: its fingerprint is {vocabulary.fingerprint}, and "
                    f"should be {fingerprint}."
                )
            self._held[name] = vocabulary


class KeepsVocabularies:
    """Mixin of a layer whose `_vocabularies` are `KeptVocabularies`."""

    def vocabulary(self, name):
        """The `Vocabulary` of a column, or `None` where it has none.

        Raises:
            ValueError: it has one, but the layer was made from a config in a process
                that does not hold it.
        """
        return self._vocabularies.get(name)

    @property
    def told_encodings(self):
        """Dict of column to `Vocabulary`, or to its fingerprint where this process does
        not hold it, or to `None`; or to what standardised its numbers."""
        return self._vocabularies.told()

    def check_loaded(self):
        """Raises where weights of another encoding were just loaded."""
        self._vocabularies.raise_refused()

    def save_own_variables(self, store):
        super().save_own_variables(store)
        self._vocabularies.sign(store)

    def load_own_variables(self, store):
        held = {key: store[key] for key in store.keys()}
        self._vocabularies.check_signed(held)
        super().load_own_variables(held)

    def save_assets(self, dir_path):
        self._vocabularies.save(dir_path)

    def load_assets(self, dir_path):
        self._vocabularies.load(dir_path)


def _path(folder, name):
    # A config may come from anywhere.
    if not is_plain(name):
        raise ValueError(
            f"The column name {name!r} cannot name the file of a vocabulary; rename it."
        )
    return Path(folder) / f"{name}.parquet"


def _check_size(vocabulary, column):
    expected = column.first_id, column.cardinality - 1
    if (vocabulary.first_id, vocabulary.last_id) != expected:
        raise ValueError(
            f"The vocabulary of column {column.name!r} has ids {vocabulary.first_id} "
            f"to {vocabulary.last_id}, the schema has {expected[0]} to {expected[1]}; "
            "use the schema and the vocabularies of one ETL."
        )
