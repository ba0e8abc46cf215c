"""A model's graph cut at the head that answers: what an index is asked with."""

import keras
from keras import ops

from keras_t4r.layers.score_step import ScoreStep
from keras_t4r.models.graph import calls_from_head, lifted


class QueryGraph:
    """What leads to a head, and the steps after it.

    Args:
        model: `SessionModel`.
        output: the `KerasTensor` of scores that answer.

    Attributes:
        head: `NextItemHead`.
        steps: list of `ScoreStep`, in the order in which they change the scores.

    Raises:
        ValueError: something else than a step comes after the head.
    """

    def __init__(self, model, output):
        *after, (self.head, node, entered) = calls_from_head(output)
        x, targets, table = _arguments(node, ("x", "targets", "table"))
        tensors = {"x": lifted(x, entered), "targets": lifted(targets, entered)}
        of_head = None if table is None else {"table": lifted(table, entered)}
        self.steps = []
        for step, node, entered in reversed(after):
            if not isinstance(step, ScoreStep) or not step.knows_candidates():
                raise ValueError(
                    f"{step.name!r} comes after the head and sees the scores of all "
                    "items, so the model does not go with an index: leave index= out, "
                    "or write the step as a ScoreStep with candidates and "
                    "change_candidates."
                )
            items = lifted(_arguments(node, ("scores", "items"))[1], entered)
            tensors[f"items_{len(self.steps)}"] = items
            self.steps.append(step)
        self._inputs = model.input
        self._read = _Part(model, tensors)
        self._table = None if of_head is None else _Part(model, of_head)

    @property
    def models(self):
        """The functional models that it is made of."""
        parts = [self._read, self._table]
        return [part.model for part in parts if part is not None]

    def query(self, inputs):
        """The queries, `(batch, dim)`, and the list of what each step has as items."""
        found = self._read.of(inputs)
        asked = self.head.asked(found["x"], found["targets"])
        items = [found[f"items_{place}"] for place in range(len(self.steps))]
        return self.head.query(asked, training=False), items

    def table(self):
        """The table that the head is called with, or `None` for its own."""
        if self._table is None:
            return None
        # It does not depend on the sessions: any one does.
        session = {
            name: ops.ones([1 if n is None else n for n in x.shape], x.dtype)
            for name, x in self._inputs.items()
        }
        return self._table.of(session)["table"]


class _Part:
    """Some tensors of a model, from those of its inputs that they are made of."""

    def __init__(self, model, tensors):
        needed = _inputs_of(list(tensors.values()))
        inputs = {n: x for n, x in model.input.items() if id(x) in needed}
        self._names = list(inputs)
        self.model = keras.Model(inputs, tensors)

    def of(self, inputs):
        given = {name: inputs[name] for name in self._names}
        return self.model(given, training=False)


def _arguments(node, names):
    args, kwargs = node.arguments.args, node.arguments.kwargs
    return [
        args[place] if place < len(args) else kwargs.get(name)
        for place, name in enumerate(names)
    ]


def _inputs_of(tensors):
    """The ids of all tensors that some are made of, themselves included."""
    found, waiting = set(), list(tensors)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in found:
            found.add(id(tensor))
            operation, node_index, _ = tensor._keras_history
            waiting.extend(operation._inbound_nodes[node_index].input_tensors)
    return found
