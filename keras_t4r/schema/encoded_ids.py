"""The mark of a table whose ids are encoded, and by which vocabularies.

Raw integer ids and encoded ones look the same. So an ETL writes into the metadata of
the Arrow schema, of its tables and thereby of its parquet files, which columns it
encoded: `keras_t4r.ids`, JSON of column to the fingerprint of its `Vocabulary`. What
carries no mark holds raw values.
"""

import json

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


def check_encoded(arrow_schema, vocabularies, where, whose="model"):
    """Raises where ids were encoded by another vocabulary than those given.

    Ids of a vocabulary that the given one was extended from mean the same: they pass.

    Args:
        arrow_schema: `pyarrow.Schema`, of a table or of a parquet file.
        vocabularies: dict of column to `Vocabulary`, or `None`.
        where: string. What to call the table in the error.
        whose: string. What to call the owner of the vocabularies there.
    """
    for name, fingerprint in (encoded_columns(arrow_schema) or {}).items():
        vocabulary = vocabularies.get(name)
        if vocabulary is not None and not vocabulary.covers(fingerprint):
            raise ValueError(
                f"The ids of column {name!r} of {where} were encoded by another "
                f"vocabulary than the {whose}'s ({fingerprint} and "
                f"{vocabulary.fingerprint}), so they mean other values: encode the "
                f"clicks with the ETL that the {whose} is of."
            )
