"""The schema of the sessions that an ETL makes."""

from keras_t4r.data.etl.config import RECENCY
from keras_t4r.schema import ColumnSchema, Domain, Schema, Tags
from keras_t4r.schema.vocabulary import FIRST_ID


def session_schema(config, state):
    """Columns a model may read, the session id, and the vocabularies of the ids.

    Window, length and start are bookkeeping: they stand in the files, not in
    the schema.
    """
    count = (config.min_length, config.max_length)
    encodings = state.encodings(config)

    def ids(name, tags, value_count=count):
        domain = Domain(FIRST_ID, encodings[name].last_id, name)
        encoding = encodings[name].fingerprint
        return ColumnSchema(name, "int64", tags, domain, value_count, encoding=encoding)

    def numbers(name, tags, value_count=count):
        encoding = encodings.get(name)
        return ColumnSchema(name, "float32", tags, None, value_count, encoding=encoding)

    listed = (Tags.LIST, Tags.CATEGORICAL)
    measured = (Tags.LIST, Tags.CONTINUOUS)
    scaled = (*measured, Tags.STANDARDISED)
    columns = [ids(config.item, (Tags.ITEM_ID, Tags.ITEM, *listed))]
    columns += [ids(name, (*listed, Tags.ITEM)) for name in config.categorical]
    columns += [numbers(name, scaled) for name in config.continuous]
    for name in config.time_features:
        # Told to bodies that read times, and no feature like others: it is huge.
        when = name == "seconds"
        tags = (Tags.LIST, Tags.TIMESTAMP) if when else (*measured, Tags.TIME)
        columns.append(numbers(name, tags))
    if config.recency:
        columns.append(numbers(RECENCY, (*scaled, Tags.ITEM)))
    columns += [
        ids(name, (Tags.CONTEXT, Tags.CATEGORICAL), None)
        for name in config.context_categorical
    ]
    columns += [
        numbers(name, (Tags.CONTEXT, Tags.CONTINUOUS, Tags.STANDARDISED), None)
        for name in config.context_continuous
    ]
    columns.append(
        ColumnSchema(config.session, state.kinds[config.session], (Tags.SESSION_ID,))
    )
    return Schema(columns, vocabularies=dict(state.vocabularies))
