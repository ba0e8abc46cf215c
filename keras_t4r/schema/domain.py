"""What the values of a column may be, and the ids with a meaning of their own."""

from dataclasses import dataclass

PADDING_ID = 0
UNKNOWN_ID = 1
# The largest number that a model is given: of larger ones a sum of squares, as layer
# normalisation makes it, is none in float32, and answers are no numbers.
LARGEST_NUMBER = 1e15


@dataclass(frozen=True)
class Domain:
    """The values a column may take, ends included; ids of one domain share a table."""

    min: float
    max: float
    name: str = ""
