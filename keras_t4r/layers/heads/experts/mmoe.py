"""Experts that all tasks share, with a gate a task."""

import keras
from keras import ops

from keras_t4r.arguments import drawing_seed, rate, whole_number
from keras_t4r.layers.draw_one_by_one import draw_one_by_one
from keras_t4r.layers.heads.experts.experts import Experts
from keras_t4r.layers.heads.experts.gates import Gates
from keras_t4r.layers.heads.experts.rows import as_rows, from_rows
from keras_t4r.layers.heads.layer_widths import as_widths
from keras_t4r.quantization import KeepsQuantization


@keras.saving.register_keras_serializable(package="keras_t4r")
class MMoE(KeepsQuantization, keras.layers.Layer):
    """Multi-gate mixture of experts: each task takes its own mixture of shared experts.

    `y_t = Σ_k g_tk(x) · e_k(x)` with `g_t(x) = softmax(W_t x)`, for each task `t`. An
    expert `e_k` is a stack of dense layers with weights of its own.

    Per session it stands on a `SessionSummary`, per event on the body's output. In
    Merlin Models it is `MMOEBlock`, with the same `num_experts`; `units` is the width
    of its `expert_block`.

    Args:
        num_tasks: int. Number of outputs.
        num_experts: int. Number of experts.
        units: int, or a tuple of ints. Width of each dense layer of an expert.
        activation: as of `keras.layers.Dense`; after each dense layer of an expert.
        dropout: float in [0, 1). Rate of dropout after each of them.
        kernel_initializer: as of `keras.layers.Dense`; for each expert and gate by
            itself.
        kernel_regularizer: as of `keras.layers.Dense`; for the experts.
        seed: int. Seed of the dropout.

    Call arguments:
        x: tensor `(batch, …, width)`.
        training: bool. Whether dropout is active.

    Returns:
        A list of `num_tasks` tensors `(batch, …, units[-1])`, each with the mask of
        `x`.

    Raises:
        TypeError: a number of tasks, experts or units is no whole number.
        ValueError: one is below 1, or `dropout` not in [0, 1).

    Example:

    >>> session = keras_t4r.SessionSummary("last")(x)
    >>> for_bought, for_price = keras_t4r.MMoE(2, num_experts=4, units=32)(session)
    >>> bought = keras.layers.Dense(1, "sigmoid", name="bought")(for_bought)
    >>> price = keras.layers.Dense(1, name="price")(for_price)

    References:
    - Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
      Mixture-of-Experts, KDD 2018.
    """

    def __init__(
        self,
        num_tasks,
        num_experts,
        units,
        activation="relu",
        dropout=0.0,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        # Passed arguments.
        self.num_tasks = whole_number("num_tasks", num_tasks)
        self.num_experts = whole_number("num_experts", num_experts)
        self.units = as_widths(units, "MMoE")
        self.activation = keras.activations.get(activation)
        self.dropout = rate("dropout", dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.seed = drawing_seed(seed)

        # Other arguments.
        self.supports_masking = True

    def build(self, x_shape):
        draw = draw_one_by_one(self.kernel_initializer)
        self.experts = Experts(
            1,
            self.num_experts,
            self.units,
            self.activation,
            self.dropout,
            draw,
            self.kernel_regularizer,
            self.seed,
            dtype=self.dtype_policy,
            name="experts",
        )
        self.gates = Gates(
            self.num_tasks,
            self.num_experts,
            draw,
            dtype=self.dtype_policy,
            name="gates",
        )
        rows = (None, x_shape[-1])
        self.experts.build(rows)
        self.gates.build(rows)

    def call(self, x, training=None):
        rows = as_rows(x)
        experts = self.experts(rows, training=training)[0]
        y = ops.einsum("trn,nru->tru", self.gates(rows), experts)
        return [from_rows(y[task], x) for task in range(self.num_tasks)]

    def compute_mask(self, inputs, previous_mask=None):
        return [previous_mask] * self.num_tasks

    def compute_output_shape(self, x_shape):
        return [(*x_shape[:-1], self.units[-1])] * self.num_tasks

    def get_config(self):
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "num_experts": self.num_experts,
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "seed": self.seed,
        }
