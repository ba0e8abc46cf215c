"""HSTU: pointwise attention with gates, aware of distances and of time."""

import dataclasses
from typing import ClassVar

import keras
from keras import ops

from keras_t4r.bodies.body import Body
from keras_t4r.bodies.body_config import BodyConfig
from keras_t4r.bodies.huggingface.config_checks import check_fields
from keras_t4r.bodies.parts.hstu_block import HSTUBlock, time_buckets


@dataclasses.dataclass
class HSTUConfig(BodyConfig):
    """Sizes and options of `HSTU`.

    Attributes:
        hidden_size: int. Width of the events.
        num_attention_heads: int. Number of attention heads.
        num_hidden_layers: int. Number of blocks.
        attention_dim: int. Width of a head's queries and keys; `None`:
            `hidden_size / num_attention_heads`.
        linear_dim: int. Width of a head's values and gates; `None`: the same.
        max_position_embeddings: int. The most events of a sequence.
        num_buckets: int. The last bucket of time differences.
        dropout: float. Rate on the events and at the end of each block.
        layer_norm_eps: float. Of all layer normalisations.
        initializer_range: float. Standard deviation of the initial weights.
    """

    model_type: ClassVar[str] = "hstu"

    hidden_size: int = 64
    num_attention_heads: int = 4
    num_hidden_layers: int = 2
    attention_dim: int | None = None
    linear_dim: int | None = None
    max_position_embeddings: int = 50
    num_buckets: int = 128
    dropout: float = 0.2
    layer_norm_eps: float = 1e-6
    initializer_range: float = 0.02

    def __post_init__(self):
        dims = ("attention_dim", "linear_dim")
        check_fields(
            self,
            sizes=(
                "hidden_size",
                "num_attention_heads",
                "num_hidden_layers",
                "max_position_embeddings",
                "num_buckets",
                *(name for name in dims if getattr(self, name) is not None),
            ),
            rates=("dropout",),
            positive=("layer_norm_eps", "initializer_range"),
        )


@keras.saving.register_keras_serializable(package="keras_t4r")
class HSTU(Body):
    """Hierarchical sequential transduction units, of Meta's generative recommenders.

    In each block, with layer normalisations `N` that have no weights,

    ```
    u, v, q, k = split(silu(W N(x)))
    a = silu(q · kᵀ + p[i - j] + w[bucket(tᵢ - tⱼ)]) / n, where i sees j, else 0
    x = x + W₂ (u · N(a · v)) + b₂
    ```

    There is no softmax, so how often something was seen counts, and no feed-forward
    part. `p` is learnt by distance and `w` by time difference, both for each block and
    shared by its heads; `bucket(t) = floor(ln(max(1, |t|)) / 0.301)`, at most
    `num_buckets`. Without times there is no `w`.

    `n` is the config's number of positions, a constant, as in Meta's code where every
    batch is padded to it. The length of a batch would let padding in.

    Causal unless `causal=False`.

    Args:
        config: `HSTUConfig`.
        causal: bool. Overrides the config; see `Body`.

    Call arguments:
        x, mask, training: as of `Body`.
        times: `(batch, time)`, when each event happened; what stands at padding is
            ignored. Hand whole seconds as integers: they are subtracted as they are,
            where seconds since 1970 in float32 are off by a minute. Floats should
            count from the session's start, and not come in half precision. Meta's
            code takes the time of the *next* event for the query's; a recommender
            that serves cannot know it, so here it is the event's own. A body built
            with times is always called with them.

    Example:

    >>> body = HSTU(HSTUConfig(hidden_size=64, max_position_embeddings=20))
    >>> y = body(x, mask=mask, times=seconds)       # (batch, time, 64)

    References:
        [Actions Speak Louder than Words](https://arxiv.org/abs/2402.17152)
    """

    model_type = "hstu"

    def __init__(self, config, causal=None, **kwargs):
        super().__init__(config, causal, **kwargs)
        config, policy = self.config, self.dtype_policy
        self.max_length = config.max_position_embeddings

        self.dropout = keras.layers.Dropout(config.dropout, dtype=policy)
        self.blocks = [
            HSTUBlock(
                self.d_model,
                self.n_head,
                attention_dim=config.attention_dim,
                linear_dim=config.linear_dim,
                max_length=self.max_length,
                num_buckets=config.num_buckets,
                dropout=config.dropout,
                epsilon=config.layer_norm_eps,
                stddev=config.initializer_range,
                dtype=policy,
                name=f"block_{i}",
            )
            for i in range(self.n_layer)
        ]
        self.timed = False

    @classmethod
    def session_fields(cls, d_model, n_head, n_layer, max_length, dropout):
        return {
            "hidden_size": d_model,
            "num_attention_heads": n_head,
            "num_hidden_layers": n_layer,
            "max_position_embeddings": max_length + 1,
            "dropout": dropout,
            "initializer_range": d_model**-0.5,
        }

    def config_is_causal(self):
        return True

    def build(self, x_shape, times_shape=None):
        # `timed`: bool. Whether the body was built for calls with `times`.
        self.timed = times_shape is not None
        super().build(x_shape)

    def build_parts(self, shape):
        for block in self.blocks:
            block.build(shape, (None, None, None) if self.timed else None)

    def call(self, x, mask=None, times=None, x_mask=None, training=None):
        # By this name Keras hands on what x carries, when called with times.
        mask = x_mask if mask is None else mask
        if (times is not None) != self.timed:
            raise ValueError(
                "HSTU was built without times and called with them, or built with "
                "times and called without: its weights are those of its first call."
            )
        if times is None:
            return self.run(x, mask, training)
        return self.run(x, mask, training, times=self._real_times(x, mask, times))

    def _real_times(self, x, mask, times):
        """`times`, refused where they do not fit, and zeros at padding."""
        dtype = keras.backend.standardize_dtype(times.dtype)
        if dtype in ("float16", "bfloat16"):
            raise ValueError(
                f"HSTU cannot tell times apart in {dtype}, which is what half "
                "precision makes of floats: hand them as integers, in seconds."
            )
        got, events = tuple(times.shape), tuple(x.shape[:2])
        if len(got) != 2 or any(
            None not in sizes and sizes[0] != sizes[1]
            for sizes in zip(got, events, strict=True)
        ):
            raise ValueError(
                f"HSTU needs one time for each event, but got times {got} for "
                f"events {events}: a masking scheme that appends the event to "
                "predict has no time for it, so use one that does not, or no times."
            )
        if mask is None:
            return times
        return ops.where(ops.cast(mask, "bool"), times, ops.zeros_like(times))

    def encode(self, x, visible, training, times=None):
        length = ops.shape(x)[1]
        index = ops.arange(length, dtype="int32")
        apart = ops.expand_dims(index, 1) - ops.expand_dims(index, 0)
        given = {"distances": apart + (self.max_length - 1), "visible": visible}
        if times is not None:
            given["buckets"] = time_buckets(times, self.config.num_buckets)
        x = self.dropout(x, training=training)
        for block in self.blocks:
            x = block(x, training=training, **given)
        return x
