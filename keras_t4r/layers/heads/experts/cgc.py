"""Experts of each task and experts of all, with a gate a task."""

import keras
from keras import ops

from keras_t4r.arguments import drawing_seed, rate, truth, whole_number
from keras_t4r.layers.draw_one_by_one import draw_one_by_one
from keras_t4r.layers.heads.experts.experts import Experts
from keras_t4r.layers.heads.experts.gates import Gates
from keras_t4r.layers.heads.experts.rows import as_rows, from_rows
from keras_t4r.layers.heads.layer_widths import as_widths
from keras_t4r.quantization import KeepsQuantization


@keras.saving.register_keras_serializable(package="keras_t4r")
class CGC(KeepsQuantization, keras.layers.Layer):
    """Customized gate control: each task has experts of its own beside shared ones.

    `y_t = Σ_k g_tk(x_t) · e_tk(x_t)  +  Σ_j g_t,m+j(x_t) · s_j(x_s)`, with `m` experts
    `e_tk` of task `t`, the shared experts `s_j`, and
    `g_t(x_t) = softmax(W_t x_t)` over both. An expert is a stack of dense layers with
    weights of its own. With `shared_gate` there is one output more: all experts, of all
    tasks and shared, mixed by `softmax(W_s x_s)`; it is the `x_s` of a next layer.

    The input is one tensor, which is every `x_t` and `x_s`; or a list of each `x_t` and
    then `x_s`, as a `CGC` with `shared_gate` returns it. `PLE` is several of them.

    In Merlin Models it is `CGCBlock`, with the same numbers of experts; `units` is the
    width of its `expert_block`, `shared_gate` its `add_shared_gate`.

    Args:
        num_tasks: int. Number of tasks.
        num_task_experts: int. Experts of each task.
        num_shared_experts: int. Experts of all tasks.
        units: int, or a tuple of ints. Width of each dense layer of an expert.
        shared_gate: bool. Whether there is an output more, last.
        activation: as of `keras.layers.Dense`; after each dense layer of an expert.
        dropout: float in [0, 1). Rate of dropout after each of them.
        kernel_initializer: as of `keras.layers.Dense`; for each expert and gate by
            itself.
        kernel_regularizer: as of `keras.layers.Dense`; for the experts.
        seed: int. Seed of the dropout.

    Call arguments:
        x: tensor `(batch, …, width)`, or a list of `num_tasks + 1` of them.
        training: bool. Whether dropout is active.

    Returns:
        A list of `num_tasks` tensors `(batch, …, units[-1])`, and one more with
        `shared_gate`. Each has the mask of its input.

    Raises:
        TypeError: a number of tasks, experts or units is no whole number.
        ValueError: one is below 1, or `dropout` not in [0, 1); or a list has
            another length, or tensors of several shapes.

    Example:

    >>> cgc = keras_t4r.CGC(2, num_task_experts=2, num_shared_experts=2, units=32)
    >>> for_bought, for_price = cgc(keras_t4r.SessionSummary("mean")(x))

    References:
    - Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning
      (MTL) Model for Personalized Recommendations, RecSys 2020.
    """

    def __init__(
        self,
        num_tasks,
        num_task_experts,
        num_shared_experts,
        units,
        shared_gate=False,
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
        self.num_task_experts = whole_number("num_task_experts", num_task_experts)
        self.num_shared_experts = whole_number("num_shared_experts", num_shared_experts)
        self.units = as_widths(units, "CGC")
        self.shared_gate = truth("shared_gate", shared_gate)
        self.activation = keras.activations.get(activation)
        self.dropout = rate("dropout", dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.seed = drawing_seed(seed)

        # Other arguments.
        self.supports_masking = True

    def build(self, x_shape):
        shape = self._one_shape(x_shape)
        tasks, own = self.num_tasks, self.num_task_experts
        shared = self.num_shared_experts
        draw = draw_one_by_one(self.kernel_initializer)

        def experts(groups, count, name, seed):
            return Experts(
                groups,
                count,
                self.units,
                self.activation,
                self.dropout,
                draw,
                self.kernel_regularizer,
                seed,
                dtype=self.dtype_policy,
                name=name,
            )

        def gates(count, choices, name):
            return Gates(count, choices, draw, dtype=self.dtype_policy, name=name)

        after = None if self.seed is None else self.seed + 1
        self.task_experts = experts(tasks, own, "task_experts", self.seed)
        self.shared_experts = experts(1, shared, "shared_experts", after)
        self.task_gates = gates(tasks, own + shared, "task_gates")
        parts = [self.task_experts, self.shared_experts, self.task_gates]
        if self.shared_gate:
            self.gate_of_all = gates(1, tasks * own + shared, "shared_gate")
            parts.append(self.gate_of_all)
        for part in parts:
            part.build((None, shape[-1]))

    def call(self, x, training=None):
        if isinstance(x, (list, tuple)):
            like = list(x)
            for_shared = as_rows(x[-1])
            for_tasks = ops.stack([as_rows(one) for one in x[:-1]])
        else:
            like = [x] * (self.num_tasks + 1)
            for_tasks = for_shared = as_rows(x)
        own = self.task_experts(for_tasks, training=training)
        shared = self.shared_experts(for_shared, training=training)[0]
        gate = self.task_gates(for_tasks)
        count = self.num_task_experts
        y = ops.einsum("trn,tnru->tru", gate[..., :count], own)
        y = y + ops.einsum("trn,nru->tru", gate[..., count:], shared)
        outputs = [from_rows(y[task], like[task]) for task in range(self.num_tasks)]
        if self.shared_gate:
            gate = self.gate_of_all(for_shared)[0]
            own = ops.reshape(own, (self.num_tasks * count, *ops.shape(own)[2:]))
            count = self.num_tasks * count
            y = ops.einsum("rn,nru->ru", gate[:, :count], own)
            y = y + ops.einsum("rn,nru->ru", gate[:, count:], shared)
            outputs.append(from_rows(y, like[-1]))
        return outputs

    def _one_shape(self, x_shape):
        """The shape of one input, of one shape or a list of them."""
        if not isinstance(x_shape[0], (list, tuple)):
            return tuple(x_shape)
        shapes = [tuple(shape) for shape in x_shape]
        if len(shapes) != self.num_tasks + 1:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} of {self.num_tasks} tasks takes "
                f"one tensor, or a list of {self.num_tasks + 1}: one a task and one "
                f"for the shared experts; not of {len(shapes)}."
            )
        if len(set(shapes)) > 1:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} takes tensors of one shape, not "
                f"of {', '.join(map(str, shapes))}."
            )
        return shapes[0]

    def compute_mask(self, inputs, previous_mask=None):
        count = self.num_tasks + self.shared_gate
        if isinstance(inputs, (list, tuple)):
            return list(previous_mask)[:count]
        return [previous_mask] * count

    def compute_output_shape(self, x_shape):
        shape = (*self._one_shape(x_shape)[:-1], self.units[-1])
        return [shape] * (self.num_tasks + self.shared_gate)

    def get_config(self):
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "num_task_experts": self.num_task_experts,
            "num_shared_experts": self.num_shared_experts,
            "units": self.units,
            "shared_gate": self.shared_gate,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "seed": self.seed,
        }
