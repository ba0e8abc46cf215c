"""The mark of a table whose ids are encoded, and by which vocabularies.

Raw integer ids and encoded ones look the same, and so do numbers as they stand in the
log and standardised ones. So an ETL writes into the metadata of the Arrow schema, of
its tables and thereby of its parquet files, which columns it encoded, and how:
`keras_t4r.ids`, JSON of column to its encoding, which is the fingerprint of a
`Vocabulary`, or for numbers what they were standardised by. What carries no mark holds
raw values.

Arrow gives the table that `pa.concat_tables` makes of several the mark of the first.
"""

import json

from keras_t4r.schema.standardised import is_standardised, same_numbers
from keras_t4r.schema.vocabulary import Vocabulary, size_of

_KEY = b"keras_t4r.ids"


def mark_encoded(table, encodings):
    """The table, marked.

    Args:
        table: `pyarrow.Table` with encoded ids and standardised numbers.
        encodings: dict of column to `Vocabulary`, or to a text of `standardised_by`.
    """
    mark = {name: text_of(encoding) for name, encoding in encodings.items()}
    metadata = {**(table.schema.metadata or {}), _KEY: json.dumps(mark).encode()}
    return table.replace_schema_metadata(metadata)


def encoded_columns(arrow_schema):
    """The mark: a dict of column to text, or `None` where there is no mark.

    Args:
        arrow_schema: `pyarrow.Schema`, of a table or of a parquet file.
    """
    mark = (arrow_schema.metadata or {}).get(_KEY)
    if mark is None:
        return None
    try:
        return dict(json.loads(mark))
    except (ValueError, TypeError) as error:
        raise ValueError(
            "The mark of encoded ids in the metadata is damaged: write the sessions "
            "again."
        ) from error


def encodings_of(columns, vocabularies):
    """What is known of how the values of columns are encoded, for `check_encoded`.

    Args:
        columns: `Schema`.
        vocabularies: dict of column to `Vocabulary`, or to its fingerprint.

    Returns:
        A dict: of a column of ids the vocabulary, `None` where it has none; of a column
        of numbers what standardised them. Of numbers that it is not known of it says
        nothing.
    """
    ids = {c.name: vocabularies.get(c.name) for c in columns if c.is_categorical}
    return ids | numbers_of(columns)


def numbers_of(columns):
    """What standardised the numbers of columns, as far as it is known: a dict."""
    return {c.name: c.encoding for c in columns if is_standardised(c.encoding)}


def check_encoded(arrow_schema, encodings, where, whose="model", own=None):
    """Raises where values were encoded otherwise than by what is given.

    Ids of a vocabulary that the given one was extended from mean the same: they pass.
    Of a given one that is not in this process only the fingerprint is known. It is the
    same or another; whether it was extended from the sessions' cannot be told, but
    whether the sessions' was extended from it can, where theirs is known.

    Args:
        arrow_schema: `pyarrow.Schema`, of a table or of a parquet file.
        encodings: dict of column to `Vocabulary` or its fingerprint, or to a text of
            `standardised_by`; see `encodings_of`. Where it is `None`, ids that a
            vocabulary encoded are refused: nobody could say what they mean.
        where: string. What to call the table in the error.
        whose: string. What to call the owner of the encodings there.
        own: function of a column to the encoding that the schema of the sessions has,
            or `None`. Where there is no mark they are taken to be encoded by it.
    """
    marks = encoded_columns(arrow_schema) or {}
    for name, given in encodings.items():
        marked, theirs = marks.get(name), own and _once(own, name)
        if is_standardised(given):
            _check_numbers(given, marked or (theirs and theirs()), name, where, whose)
        elif given is not None:
            _check_ids(given, marked, theirs, name, where, whose)
        elif marked is not None:
            raise ValueError(
                f"The ids of column {name!r} of {where} were encoded by a vocabulary "
                f"({marked}) that the {whose} lacks, so what they mean could not be "
                "told: load its schema with Schema.load, where the folder of "
                "vocabularies lies beside it."
            )


def _check_numbers(given, theirs, name, where, whose):
    if theirs is not None and not same_numbers(given, text_of(theirs)):
        raise ValueError(
            f"The numbers of column {name!r} of {where} were standardised otherwise "
            f"than the {whose}'s (by {text_of(theirs)}, and by {given}), so they mean "
            f"other values: encode the clicks with the ETL that the {whose} is of."
        )


def _check_ids(given, marked, own, name, where, whose):
    if isinstance(given, str):
        given = Vocabulary.living(given) or given
    same, encoded = _is_same(given, marked, own)
    if same:
        return
    told = text_of(given)
    if same is None:
        raise ValueError(
            f"Whether the ids of column {name!r} of {where} mean what those of the "
            f"{whose} do cannot be told: its vocabulary ({told}) is not in this "
            f"process, and theirs is another ({encoded}). Load the schema beside "
            f"the sessions with Schema.load, or the {whose}'s vocabulary with "
            "Vocabulary.load, before."
        )
    raise ValueError(
        f"The ids of column {name!r} of {where} were encoded by another "
        f"vocabulary than the {whose}'s ({encoded} and {told}), so they mean "
        f"other values: encode the clicks with the ETL that the {whose} is of."
    )


def _is_same(given, marked, own):
    """Whether ids mean to one vocabulary what they mean to another, if it can be told.

    Args:
        given: `Vocabulary`, or its fingerprint.
        marked: fingerprint that the sessions are marked with, or `None`.
        own: function that gives the encoding that their schema has, or `None`.

    Returns:
        `True`, `False`, or `None` where it cannot be told; and their fingerprint.
    """
    known = not isinstance(given, str)
    if marked is not None:
        if given.covers(marked) if known else given == marked:
            return True, marked
        if known or size_of(marked) >= size_of(given):
            return False, marked
        own = own and own()
        # Both lie at its beginning, and the sessions' is the shorter.
        ids = isinstance(own, Vocabulary)
        both = ids and own.covers(given) and own.covers(marked)
        return both or None, marked
    own = own and own()
    if own is None:
        return True, None
    if isinstance(own, str):
        # By their schema they are numbers.
        return False, own
    held, told = own.fingerprint, text_of(given)
    if own.covers(told) or (known and given.covers(held)):
        return True, held
    return (False if known or size_of(held) >= size_of(told) else None), held


def _once(own, name):
    return lambda: own(name)


def text_of(encoding):
    """What a mark says of an encoding."""
    return getattr(encoding, "fingerprint", encoding)
