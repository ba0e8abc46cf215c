"""The tags of columns."""

import re


class Tags:
    """The tags that the package gives a meaning to. Others are kept as they are."""

    ITEM_ID = "item_id"
    SESSION_ID = "session_id"
    USER_ID = "user_id"
    ITEM = "item"
    USER = "user"
    CONTEXT = "context"
    CATEGORICAL = "categorical"
    CONTINUOUS = "continuous"
    EMBEDDING = "embedding"
    LIST = "list"
    SEQUENCE = "sequence"
    TIME = "time"
    TIMESTAMP = "timestamp"
    GROUPBY = "groupby_col"
    TARGET = "target"
    BINARY_CLASSIFICATION = "binary_classification"
    MULTI_CLASS_CLASSIFICATION = "multi_class_classification"
    REGRESSION = "regression"
    STANDARDISED = "standardised"


# What a column is tagged with that a model is to predict: it is never an input.
TARGET_TAGS = frozenset(
    (
        Tags.TARGET,
        Tags.BINARY_CLASSIFICATION,
        Tags.MULTI_CLASS_CLASSIFICATION,
        Tags.REGRESSION,
    )
)


def plain_tag(tag):
    """Merlin writes `Tags.ITEM_ID`, older schemas `item_id` or `ITEM_ID`."""
    tag = str(getattr(tag, "value", tag)).lower()
    return re.sub(r"^tags\.", "", tag)
