"""What the values of a column may be, and the ids with a meaning of their own."""

import math
from dataclasses import dataclass

from keras_t4r.arguments import LARGEST_INT, number

PADDING_ID = 0
UNKNOWN_ID = 1
# Ids are int32 in models, and so is their number, padding included.
LARGEST_ID = LARGEST_INT - 1
# The largest number that a model is given: of larger ones a sum of squares, as layer
# normalisation makes it, is none in float32, and answers are no numbers.
LARGEST_NUMBER = 1e15


@dataclass(frozen=True)
class Domain:
    """The values a column may take, ends included; ids of one domain share a table."""

    min: float
    max: float
    name: str = ""

    def __post_init__(self):
        for end in ("min", "max"):
            value = getattr(self, end)
            number(f"{end} of a Domain", value, least=-math.inf, most=math.inf)
        if not isinstance(self.name, str):
            raise TypeError(f"name of a Domain is {self.name!r}; it should be text.")
