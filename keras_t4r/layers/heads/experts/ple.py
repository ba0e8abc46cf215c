"""Levels of experts of each task and of all."""

import keras

from keras_t4r.arguments import drawing_seed, rate, whole_number
from keras_t4r.layers.fresh_initializer import fresh
from keras_t4r.layers.heads.experts.cgc import CGC
from keras_t4r.layers.heads.layer_widths import as_widths
from keras_t4r.quantization import KeepsQuantization


@keras.saving.register_keras_serializable(package="keras_t4r")
class PLE(KeepsQuantization, keras.layers.Layer):
    """Progressive layered extraction: several levels of `CGC`.

    Level 1 reads `x`; each further one reads what the one before gave for each task and
    for the shared experts; the last gives one output a task. All levels but the last
    have a shared gate. So what is shared and what is a task's own part step by step.

    In Merlin Models it is `PLEBlock`, with the same `num_layers` and numbers of
    experts; `units` is the width of its `expert_block`.

    Args:
        num_tasks: int. Number of outputs.
        num_layers: int. Number of levels. 1 is a `CGC`.
        num_task_experts: int. Experts of each task, in each level.
        num_shared_experts: int. Experts of all tasks, in each level.
        units: int, or a tuple of ints. Width of each dense layer of an expert, in each
            level.
        activation: as of `keras.layers.Dense`; after each dense layer of an expert.
        dropout: float in [0, 1). Rate of dropout after each of them.
        kernel_initializer: as of `keras.layers.Dense`; for each expert and gate by
            itself.
        kernel_regularizer: as of `keras.layers.Dense`; for the experts.
        seed: int. Seed of the dropout.

    Call arguments:
        x: tensor `(batch, …, width)`, or a list of `num_tasks + 1` of them: one a task,
            and one for the shared experts.
        training: bool. Whether dropout is active.

    Returns:
        A list of `num_tasks` tensors `(batch, …, units[-1])`, each with the mask of its
        input.

    Raises:
        TypeError: a number of tasks, levels, experts or units is no whole number.
        ValueError: one is below 1, or `dropout` not in [0, 1); or a list has
            another length, or tensors of several shapes.

    Example:

    >>> ple = keras_t4r.PLE(
    ...     2, num_layers=2, num_task_experts=2, num_shared_experts=2, units=32)
    >>> for_bought, for_price = ple(keras_t4r.SessionSummary("last")(x))

    References:
    - Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning
      (MTL) Model for Personalized Recommendations, RecSys 2020.
    """

    def __init__(
        self,
        num_tasks,
        num_layers,
        num_task_experts,
        num_shared_experts,
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
        self.num_layers = whole_number("num_layers", num_layers)
        self.num_task_experts = whole_number("num_task_experts", num_task_experts)
        self.num_shared_experts = whole_number("num_shared_experts", num_shared_experts)
        self.units = as_widths(units, "PLE")
        self.activation = keras.activations.get(activation)
        self.dropout = rate("dropout", dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.seed = drawing_seed(seed)

        # Other arguments.
        self.supports_masking = True

    def build(self, x_shape):
        self.levels = []
        for level in range(self.num_layers):
            cgc = CGC(
                self.num_tasks,
                self.num_task_experts,
                self.num_shared_experts,
                self.units,
                shared_gate=level < self.num_layers - 1,
                activation=self.activation,
                dropout=self.dropout,
                kernel_initializer=fresh(self.kernel_initializer),
                kernel_regularizer=self.kernel_regularizer,
                # A level takes two seeds.
                seed=None if self.seed is None else self.seed + 2 * level,
                dtype=self.dtype_policy,
                name=f"level_{level}",
            )
            cgc.build(x_shape)
            x_shape = cgc.compute_output_shape(x_shape)
            self.levels.append(cgc)

    def call(self, x, training=None):
        for level in self.levels:
            x = level(x, training=training)
        return x

    def compute_mask(self, inputs, previous_mask=None):
        if isinstance(inputs, (list, tuple)):
            return list(previous_mask)[: self.num_tasks]
        return [previous_mask] * self.num_tasks

    def compute_output_shape(self, x_shape):
        shape = x_shape[0] if isinstance(x_shape[0], (list, tuple)) else x_shape
        return [(*shape[:-1], self.units[-1])] * self.num_tasks

    def get_config(self):
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "num_layers": self.num_layers,
            "num_task_experts": self.num_task_experts,
            "num_shared_experts": self.num_shared_experts,
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "seed": self.seed,
        }
