import keras
from keras import ops

from keras_t4r.arguments import drawing_seed, number, truth, whole_number
from keras_t4r.layers.schemes.hidden_events import hide_some_but_not_all
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme
from keras_t4r.layers.schemes.scheme_mask import is_last, is_next


@keras.saving.register_keras_serializable(package="keras_t4r")
class PermutationLanguageModeling(MaskingScheme):
    """Trains the model to name items in a random order.

    Some events of a session are targets, in spans: a span has 1 to `max_span_length`
    events, each length as likely, and lies at a random place among `length / rate`
    events. The session is then put in a random order, targets last. A position sees
    the events that are no targets, and those targets that come before it in that order:

    `visible[i, j] = real[j] and (not target[j] or order[j] < order[i])`

    A target is predicted from where it stands and what it sees, and other targets may
    see it: that takes a body of two streams, XLNet. With probability `last_rate` the
    last event of a session is a target and stands last in the order too: it is
    predicted from all the others, which is what is asked when serving.

    In inference a position is appended after the last event that sees all events and
    that none of them sees; the head reads it: the answer is for the event that comes
    next.

    Args:
        rate: float in (0, 1). Share of events that are targets.
        max_span_length: int. The most targets in a row.
        permute_all: bool. Make every event a target.
        last_rate: float in [0, 1]. Share of sessions whose last event is predicted
            from all the others.
        seed: int. Seed of the random choice.

    Call arguments:
        x: tensor `(batch, time, width)`. The events.
        item_ids: int tensor `(batch, time)`; 0 is padding. Or a list; see
            `MaskingScheme`.

    Returns:
        The triple of the events to encode, with a mask; the targets, 0 where there is
        none, -1 at the position that is asked in inference; and `visible`, bool
        `(batch, time, time)`, for the `TransformerBlock`: `time` positions in
        training, `time + 1` in inference.

    Example:

    ```python
    x, targets, visible = PermutationLanguageModeling()(x, inputs[schema.item_id])
    x = TransformerBlock(XLNetConfig(d_model=64, n_head=4))(x, visible=visible)
    ```

    References:
    - Yang et al., XLNet, NeurIPS 2019.
    """

    appends = True
    needs_two_streams = True

    def __init__(
        self,
        rate=1 / 6,
        max_span_length=5,
        permute_all=False,
        seed=None,
        last_rate=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # Passed arguments.
        self.rate = number("rate", rate, above=0, below=1)
        self.max_span_length = whole_number("max_span_length", max_span_length)
        self.permute_all = truth("permute_all", permute_all)
        self.last_rate = number("last_rate", last_rate, least=0, most=1)
        self.seed = drawing_seed(seed)

        # Other arguments.
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.built = True

    def train(self, x, real, mask):
        target = real if self.permute_all else self._choose(real)
        draw = self._uniform(ops.shape(real))
        if self.last_rate:
            asked = self._uniform((ops.shape(real)[0], 1)) < self.last_rate
            asked = ops.logical_and(asked, is_last(real))
            target, draw = ops.logical_or(target, asked), ops.where(asked, 1.0, draw)
        order = ops.where(target, draw, -1.0)
        before = ops.expand_dims(order, 1) < ops.expand_dims(order, 2)
        visible = ops.logical_or(ops.expand_dims(ops.logical_not(target), 1), before)
        visible = ops.logical_and(visible, ops.expand_dims(real, 1))
        return x, target, visible

    def serve(self, x, real, mask):
        return x, is_next(real), _from_everywhere(real)

    def _choose(self, real):
        """Which events are targets; `real` and the result are `(batch, time)`."""
        target = self._spans(ops.shape(real))
        # Less for those in a span, so that nothing is added to them without need.
        draw = (self._uniform(ops.shape(real)) + ops.where(target, 0.0, 1.0)) / 2
        return hide_some_but_not_all(target, draw, real)

    def _spans(self, shape):
        """Spans of random length at random places, bool `(batch, time)`."""
        batch, time = shape
        # Events that a span of each length shares with what is left in between.
        share = [int(n / self.rate + 1e-6) for n in range(1, self.max_span_length + 1)]
        # As many spans as fit if all are short.
        count = (time + share[0] - 1) // share[0]
        draw = self._uniform((batch, count)) * self.max_span_length
        length = ops.minimum(ops.cast(draw, "int32") + 1, self.max_span_length)
        share = ops.take(ops.convert_to_tensor(share, "int32"), length - 1)
        room = ops.cast(share - length + 1, "float32")
        place = ops.cast(self._uniform((batch, count)) * room, "int32")
        first = ops.cumsum(share, axis=1) - share + place
        position = ops.arange(time, dtype="int32")[None, None, :]
        after_first = position >= first[:, :, None]
        inside = ops.logical_and(after_first, position < (first + length)[:, :, None])
        return ops.any(inside, axis=1)

    def _uniform(self, shape):
        return keras.random.uniform(shape, seed=self.seed_generator, dtype="float32")

    def more_specs(self, batch, time):
        return (keras.KerasTensor((batch, time, time), dtype="bool"),)

    def get_config(self):
        return {
            **super().get_config(),
            "rate": self.rate,
            "max_span_length": self.max_span_length,
            "permute_all": self.permute_all,
            "last_rate": self.last_rate,
            "seed": self.seed,
        }


def _from_everywhere(real):
    """`visible` where each position sees all real events."""
    time = ops.shape(real)[1]
    return ops.repeat(ops.expand_dims(real, 1), time, axis=1)
