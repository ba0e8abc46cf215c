"""How much each task takes of each expert."""

import keras
from keras import ops


class Gates(keras.layers.Layer):
    """`g_t(x) = softmax(x W_t)`, a distribution over experts for each task.

    Args:
        num_tasks: int.
        num_experts: int. Experts that a task chooses from.
        kernel_initializer: function of a shape `(n, width, units)` and a dtype.

    Call arguments:
        x: tensor `(rows, width)`, which all gates see, or `(num_tasks, rows, width)`.

    Returns:
        A tensor `(num_tasks, rows, num_experts)`.
    """

    def __init__(self, num_tasks, num_experts, kernel_initializer, **kwargs):
        super().__init__(**kwargs)
        self.num_tasks = num_tasks
        self.num_experts = num_experts
        self.kernel_initializer = kernel_initializer

    def build(self, x_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.num_tasks, x_shape[-1], self.num_experts),
            initializer=self.kernel_initializer,
        )

    def call(self, x):
        equation = "rw,twn->trn" if len(x.shape) == 2 else "trw,twn->trn"
        logits = ops.einsum(equation, x, self.kernel)
        return ops.cast(ops.softmax(ops.cast(logits, "float32")), logits.dtype)

    def compute_output_shape(self, x_shape):
        return (self.num_tasks, x_shape[-2], self.num_experts)
