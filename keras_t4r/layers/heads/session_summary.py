"""From a vector an event to one vector a session."""

import keras
from keras import ops

from keras_t4r.backend import only_shapes_are_asked
from keras_t4r.layers.heads.layer_widths import as_widths
from keras_t4r.quantization import KeepsQuantization

KINDS = ("first", "last", "mean", "max", "attention")


@keras.saving.register_keras_serializable(package="keras_t4r")
class SessionSummary(KeepsQuantization, keras.layers.Layer):
    """One vector a session, of the vectors of its real events.

    - `"first"`, `"last"`: the vector of the first or last real event.
    - `"mean"`, `"max"`: the mean or the maximum over the real events, at each place of
      the vector.
    - `"attention"`: `Σ_t a_t x_t` with `a = softmax_t(q · tanh(W x_t + b))` over the
      real events; `W`, `b` and the query `q` are learned.

    Padding may stand anywhere, and whatever stands there counts for nothing. A session
    without events has a summary of zeros.

    The summary reads what `x` and its mask show, and no more. So it is lawful after any
    scheme: in training `MaskedLanguageModeling` has already replaced the events that it
    hides, and the mask of `CausalLanguageModeling` ends before the last event, which
    is a target only. In inference all events count. There `MaskedLanguageModeling`
    appends the position of the event that comes next, and `"last"` reads that one; its
    `last_rate` trains for it.

    In Transformers4Rec this is `summary_type` of a task: `"first"`, `"last"` and
    `"mean"` mean the same here, but for the padding, which they counted there.
    `"cls_index"` is `"last"`, or `"first"`, of a `mask` that shows this one event.

    Args:
        kind: string. One of the above.
        units: int. Rows of `W`, for `"attention"` only; `None` takes the width of `x`.

    Call arguments:
        x: tensor `(batch, time, width)`.
        mask: bool `(batch, time)`, True for real events; by keyword. `None` takes the
            mask that `x` carries.

    Returns:
        A tensor `(batch, width)`. It carries no mask.

    Raises:
        ValueError: the kind is unknown; `units` is given for a kind that has none; `x`
            is of another rank; or there is no mask.

    Example:

    >>> session = keras_t4r.SessionSummary("last")(x)
    >>> bought = keras.layers.Dense(1, "sigmoid", name="bought")(session)

    References:
    - Yang et al., Hierarchical Attention Networks for Document Classification, NAACL
      2016 (`"attention"`).
    """

    def __init__(self, kind="last", units=None, **kwargs):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(
                f"Unknown kind of SessionSummary {kind!r}: use one of "
                f"{', '.join(KINDS)}."
            )
        if units is not None and kind != "attention":
            raise ValueError(
                f"SessionSummary({kind!r}) learns nothing: leave units out, or take "
                '"attention".'
            )
        # Passed arguments.
        self.kind = kind
        self.units = units if units is None else as_widths(units, "SessionSummary")[0]

        # Other arguments.
        self.supports_masking = True

    def build(self, x_shape):
        if len(x_shape) != 3:
            raise ValueError(
                "SessionSummary takes (batch, time, width), one vector an event; the "
                f"input of {self.name!r} has the shape {tuple(x_shape)}."
            )
        if self.kind == "attention":
            units = self.units or x_shape[-1]
            self.key = keras.layers.Dense(
                units, activation="tanh", dtype=self.dtype_policy, name="key"
            )
            self.key.build(x_shape)
            self.query = self.add_weight(
                name="query", shape=(units, 1), initializer="glorot_uniform"
            )

    def call(self, x, mask=None):
        if mask is None:
            if not only_shapes_are_asked():
                raise ValueError(
                    f"SessionSummary {self.name!r} cannot tell events from padding: "
                    "its input carries no mask. Pass mask=ops.not_equal(item_ids, 0), "
                    "or see which layer before it dropped the mask."
                )
            mask = ops.ones_like(x[:, :, 0])
        mask = ops.cast(mask, "bool")
        # Not by a product: padding may hold what is no number.
        x = ops.where(mask[:, :, None], x, ops.zeros_like(x))
        if self.kind in ("first", "last"):
            return _at(_edge(mask, self.kind), x)
        if self.kind == "max":
            least = ops.where(mask[:, :, None], x, ops.full_like(x, -float("inf")))
            some = ops.any(mask, axis=1, keepdims=True)
            return ops.where(some, ops.max(least, axis=1), ops.zeros_like(x[:, 0]))
        if self.kind == "mean":
            share = ops.cast(mask, "float32")
            count = ops.sum(share, axis=1, keepdims=True)
            share = share / ops.maximum(count, 1.0)
        else:
            share = self._attend(x, mask)
        # Summed in float32: a long session of float16 would overflow.
        total = ops.sum(ops.cast(x, "float32") * share[:, :, None], axis=1)
        return ops.cast(total, x.dtype)

    def _attend(self, x, mask):
        """The softmax over real events, float32 `(batch, time)`; zeros at padding."""
        score = ops.cast(ops.matmul(self.key(x), self.query)[:, :, 0], "float32")
        share = ops.softmax(ops.where(mask, score, -1e9), axis=1)
        return ops.where(mask, share, 0.0)

    def compute_mask(self, inputs, previous_mask=None):
        return None

    def compute_output_shape(self, x_shape):
        return (x_shape[0], x_shape[2])

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "units": self.units}


def _edge(mask, kind):
    """True at the first or last real event of each row only."""
    real = ops.cast(mask, "int32")
    before = ops.cumsum(real, axis=1)
    number = 1 if kind == "first" else ops.sum(real, axis=1, keepdims=True)
    return ops.logical_and(mask, ops.equal(before, number))


def _at(place, x):
    """The one vector of each row where `place` is True; zeros where it nowhere is."""
    return ops.sum(ops.where(place[:, :, None], x, ops.zeros_like(x)), axis=1)
