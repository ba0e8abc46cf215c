"""The mark of a table whose ids are encoded, and by which vocabularies.

Raw integer ids and encoded ones look the same. So an ETL writes into the metadata of
the Arrow schema, of its tables and thereby of its parquet files, which columns it
encoded: `keras_t4r.ids`, JSON of column to the fingerprint of its `Vocabulary`. What
carries no mark holds raw values.
"""

import json

from keras_t4r.schema.vocabulary import Vocabulary, size_of

_KEY = b"keras_t4r.ids"


def mark_encoded(table, vocabularies):
    """The table, marked.

    Args:
        table: `pyarrow.Table` with encoded ids.
        vocabularies: dict of column to `Vocabulary`.
    """
    mark = {name: v.fingerprint for name, v in vocabularies.items()}
    metadata = {**(table.schema.metadata or {}), _KEY: json.dumps(mark).encode()}
    return table.replace_schema_metadata(metadata)


def encoded_columns(arrow_schema):
    """The mark: a dict of column to fingerprint, or `None` where there is no mark.

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


def check_encoded(arrow_schema, vocabularies, where, whose="model", own=None):
    """Raises where ids were encoded by another vocabulary than those given.

    Ids of a vocabulary that the given one was extended from mean the same: they pass.
    Of a given one that is not in this process only the fingerprint is known. It is the
    same or another; whether it was extended from the sessions' cannot be told, but
    whether the sessions' was extended from it can, where theirs is known.

    Args:
        arrow_schema: `pyarrow.Schema`, of a table or of a parquet file.
        vocabularies: dict of column to `Vocabulary`, its fingerprint, or `None`.
        where: string. What to call the table in the error.
        whose: string. What to call the owner of the vocabularies there.
        own: function of a column to the `Vocabulary` that the schema of the sessions
            has, or `None`. Where there is no mark its ids are taken for those of it.
    """
    marks = encoded_columns(arrow_schema) or {}
    for name, given in vocabularies.items():
        if isinstance(given, str):
            given = Vocabulary.living(given) or given
        same, encoded = _is_same(given, marks.get(name), own and _once(own, name))
        if same:
            continue
        told = given if isinstance(given, str) else given.fingerprint
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
        given: `Vocabulary`, its fingerprint, or `None` where nobody asks.
        marked: fingerprint that the sessions are marked with, or `None`.
        own: function that gives the `Vocabulary` of their schema, or `None`.

    Returns:
        `True`, `False`, or `None` where it cannot be told; and their fingerprint.
    """
    known = not isinstance(given, str)
    if given is None:
        return True, marked
    if marked is not None:
        if given.covers(marked) if known else given == marked:
            return True, marked
        if known or size_of(marked) >= size_of(given):
            return False, marked
        own = own and own()
        # Both lie at its beginning, and the sessions' is the shorter.
        both = own is not None and own.covers(given) and own.covers(marked)
        return both or None, marked
    own = own and own()
    if own is None:
        return True, None
    held = own.fingerprint
    told = given.fingerprint if known else given
    if own.covers(told) or (known and given.covers(held)):
        return True, held
    return (False if known or size_of(held) >= size_of(told) else None), held


def _once(own, name):
    return lambda: own(name)
