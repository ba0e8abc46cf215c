"""What a served model answers with: names, types and shapes."""

from dataclasses import dataclass

from keras_t4r.data.etl.config import SCORES
from keras_t4r.models.graph import by_output, is_of_events, output_names

# How many events of each session have a value, where outputs have one an event.
EVENTS = "events"


@dataclass(frozen=True)
class ServedTensor:
    """One tensor of an answer; `shape` has -1 where an axis is free."""

    name: str
    dtype: str
    shape: tuple


@dataclass(frozen=True)
class ServedOutputs:
    """The outputs of a `SessionModel` under the names that a client reads.

    Args:
        ranked: dict of next-item output to `(ids, scores, column)`: the two names that
            it answers under, and the column whose ids it scores. They are the item
            column and `"scores"` where it is the only output, and of the items; else
            `OUTPUT` and `OUTPUT_scores`.
        plain: dict of other output to its symbolic tensor.
        of_events: frozenset of strings. Those of them that have a value an event.
        sizes: dict of next-item output to the number of ids that it scores.
    """

    ranked: dict
    plain: dict
    of_events: frozenset
    sizes: dict

    @classmethod
    def of(cls, model, taken=()):
        """Those of a model.

        Args:
            model: `SessionModel`.
            taken: strings. Names that stand in an answer already.

        Raises:
            ValueError: two tensors of an answer would have the same name.
        """
        item, heads = model.schema.item_id, model.heads
        tensors = by_output(output_names(model), model.output)
        ranked = {}
        for name, head in heads.items():
            if len(tensors) == 1 and head.target is None:
                ranked[name] = (item, SCORES, item)
            else:
                ranked[name] = (name, f"{name}_scores", head.target or item)
        plain = {name: x for name, x in tensors.items() if name not in heads}
        served = cls(
            ranked,
            plain,
            frozenset(name for name, x in plain.items() if is_of_events(x)),
            {name: head.rows - head.first_id for name, head in heads.items()},
        )
        served._check(taken)
        return served

    @property
    def columns(self):
        """The columns whose ids stand in an answer, each once."""
        return list(dict.fromkeys(column for *_, column in self.ranked.values()))

    @property
    def names(self):
        """The names of all tensors of an answer."""
        ranked = [name for pair in self.ranked.values() for name in pair[:2]]
        return [*ranked, *self.plain, *[EVENTS] * bool(self.of_events)]

    def tensors(self, k, types):
        """List of `ServedTensor`, next-item outputs first.

        Args:
            k: int. The most ids of an answer.
            types: dict of column to the type of its raw ids.
        """
        found = []
        for name, (ids, scores, column) in self.ranked.items():
            shape = (-1, min(k, self.sizes[name]))
            found.append(ServedTensor(ids, types[column], shape))
            found.append(ServedTensor(scores, "float32", shape))
        for name, x in self.plain.items():
            shape = tuple(-1 if size is None else size for size in x.shape)
            found.append(ServedTensor(name, "float32", shape))
        if self.of_events:
            found.append(ServedTensor(EVENTS, "int32", (-1,)))
        return found

    def _check(self, taken):
        names = [*taken, *self.names]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"Two tensors of the answer would be named {name!r}: name the "
                    'outputs otherwise, by SessionModel(inputs, {"next_item": …}).'
                )
