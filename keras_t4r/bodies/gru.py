"""GRU: the recurrent body of GRU4Rec, the usual baseline."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.body_config import BodyConfig
from keras_t4r.bodies.huggingface.config_checks import check_fields
from keras_t4r.bodies.parts.attention.visibility import what_is_visible


@dataclasses.dataclass
class GRUConfig(BodyConfig):
    """Sizes and options of `GRU`.

    Attributes:
        hidden_size: int. Width of the events and of the states.
        num_hidden_layers: int. Number of layers, one over the other.
        dropout: float. Rate on the outputs of each layer.
        initializer_range: float. Standard deviation of the initial kernels on the
            inputs; those on the states begin orthogonal.
    """

    model_type: ClassVar[str] = "gru"

    hidden_size: int = 64
    num_hidden_layers: int = 1
    dropout: float = 0.0
    initializer_range: float = 0.02

    def __post_init__(self):
        check_fields(
            self,
            sizes=("hidden_size", "num_hidden_layers"),
            rates=("dropout",),
            positive=("initializer_range",),
        )

    @property
    def num_attention_heads(self):
        """1: a GRU attends to nothing, so a number of heads means nothing."""
        return 1


@keras.saving.register_keras_serializable(package="keras_t4r")
class GRU(Body):
    """Gated recurrent units, one layer over the other, equal to `torch.nn.GRU`.

    With the state `h` and the event `x` of each step,

    ```
    r, z = sigmoid(Wᵣ x + Uᵣ h + bᵣ), sigmoid(W_z x + U_z h + b_z)
    h = z · h + (1 - z) · tanh(W x + b + r · (U h + c))
    ```

    A padded step keeps the state, wherever it stands. Always causal.
    `load_hf_weights` takes the `state_dict` of a `torch.nn.GRU`.

    Args:
        config: `GRUConfig`.
        causal: bool. `None` or True.

    Example:

    >>> body = GRU(GRUConfig(hidden_size=64))
    >>> y = body(x, mask=mask)                      # (batch, time, 64)

    References:
        [Learning Phrase Representations](https://arxiv.org/abs/1406.1078) (GRU),
        [Session-based Recommendations with Recurrent Neural Networks](
        https://arxiv.org/abs/1511.06939) (GRU4Rec)
    """

    model_type = "gru"

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        if not self.causal:
            raise ValueError(
                "GRU reads a session from its first event to its last, so it cannot "
                "be bidirectional: leave causal out, or take an attention body."
            )
        config, policy = self.config, self.dtype_policy

        self.layers = [
            keras.layers.GRU(
                self.d_model,
                kernel_initializer=keras.initializers.RandomNormal(
                    stddev=config.initializer_range
                ),
                return_sequences=True,
                reset_after=True,
                # cuDNN's takes padding at the end only, and fails inside a graph
                # where it stands elsewhere.
                use_cudnn=False,
                dtype=policy,
                name=f"layer_{i}",
            )
            for i in range(self.n_layer)
        ]
        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        # It has neither heads nor positions.
        return {
            "hidden_size": d_model,
            "num_hidden_layers": n_layer,
            "dropout": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return True

    def build_parts(self, shape):
        for layer in self.layers:
            layer.build(shape)

    def make_visible(self, length, mask):
        # What is past, the recurrence itself knows.
        return what_is_visible(length, mask)

    def encode(self, x, visible, training):
        real = None if visible is None else ops.squeeze(visible, 1)
        for layer in self.layers:
            x = layer(x, mask=real, training=training)
            x = self.dropout(x, training=training)
        return x

    def hf_layout(self):
        for i, layer in enumerate(self.layers):
            cell = layer.cell
            yield cell.kernel, [f"weight_ih_l{i}"], _kernel
            yield cell.recurrent_kernel, [f"weight_hh_l{i}"], _kernel
            yield cell.bias, [f"bias_ih_l{i}", f"bias_hh_l{i}"], _biases


def _kernel(x):
    return _gates(x).T


def _biases(inputs, states):
    return np.stack([_gates(inputs), _gates(states)])


def _gates(x):
    """From torch's order of the gates, reset first, to Keras's, update first."""
    reset, update, new = np.split(x, 3)
    return np.concatenate([update, reset, new])
