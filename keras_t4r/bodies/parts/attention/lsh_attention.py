"""Attention of chunks of like events, found by locality-sensitive hashing."""

import itertools
import math

import keras
from keras import ops

from keras_t4r.bodies.parts.attention.chunk_layout import chunks_around, take_rows
from keras_t4r.bodies.parts.attention.chunked_attention import ChunkedAttention


class LSHAttention(ChunkedAttention):
    """Reformer's attention over events whose shared query and key point alike.

    One projection is query and key `x`. Each round `r` of hashing gives an event the
    bucket `argmax([R_r x, -R_r x])`, `R_r` being random rotations; the events are
    sorted by bucket, and by time within it, and cut into chunks, which see their
    neighbours: `softmax(x · k) v` with `k = x / (|x|)`, `|x|` being the Euclidean
    norm. Of itself an event sees nothing, unless it sees nothing else. The rounds are
    averaged, each by the share of its `Σ exp(x · k)`.

    The rotations are weights that are not trained: drawn once and saved, so that
    hashing leaves nothing to chance after that. Hugging Face draws them anew at each
    call.

    Padding is sorted behind all real events.

    Args:
        num_buckets: tuple of even ints. The bucket's number has a digit for each,
            hashed by itself.
        rounds: int. Number of rounds of hashing.
        hash_seed: int. Seed of the rotations; `None` draws it.
        others: as of `ChunkedAttention`. Causal needs `max_length` to be within a
            chunk: sorting lets later events move earlier ones from chunk to chunk.

    References:
        [Reformer](https://arxiv.org/abs/2001.04451),
        [Cross-polytope LSH](https://arxiv.org/abs/1509.02897)
    """

    parts = 2

    def __init__(self, *args, num_buckets, rounds, hash_seed=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.num_buckets = num_buckets
        self.rounds = rounds
        self.hash_seed = hash_seed

    def build(self, input_shape):
        super().build(input_shape)
        self.rotations = self.add_weight(
            shape=(self.n_head, self.d_head, self.rounds, sum(self.num_buckets) // 2),
            initializer=keras.initializers.RandomNormal(
                stddev=1.0, seed=self.hash_seed
            ),
            trainable=False,
            # Half precision would hash into other buckets.
            autocast=False,
            name="rotations",
        )

    def call(self, x, visible, span, training=None):
        qk, v = self.project(x)
        k = self._keys(qk)
        batch, time = ops.shape(x)[:2]
        if self.is_one_chunk(time):
            mixed = self.attend_in_one_chunk(qk, k, v, visible, True, training)
            return self.join(mixed)
        heads, rounds, length = self.n_head, self.rounds, self.chunk_length
        chunks = time // length
        order = self._sort(self._buckets(qk), visible)
        slots = ops.reshape(order, (heads, batch, rounds * chunks, length))
        own_chunks = ops.floor_divide(span, length)
        seen = chunks_around(own_chunks, chunks, self.before, self.after, rounds)
        keys = ops.reshape(
            take_rows(slots, ops.expand_dims(seen, 0)),
            (heads, batch, rounds * chunks, length * seen.shape[-1]),
        )
        real = ops.transpose(visible, (0, 2, 1))
        visible = take_rows(ops.expand_dims(real, 0), keys)
        own = ops.equal(ops.expand_dims(slots, 4), ops.expand_dims(keys, 3))
        k, v = ops.split(take_rows(ops.concatenate([k, v], axis=-1), keys), 2, axis=-1)
        mixed, total = self.attend(
            take_rows(qk, slots),
            k,
            v,
            ops.transpose(visible, (0, 1, 2, 4, 3)),
            own,
            training,
        )
        places = self._places(order)
        return self.join(self._average(mixed, total, places, batch, time))

    def _keys(self, qk):
        x = ops.cast(qk, self.softmax_dtype)
        size = ops.mean(ops.square(x), axis=-1, keepdims=True)
        x = x * ops.rsqrt(size + 1e-6) * self.d_head**-0.5
        return ops.cast(x, self.compute_dtype)

    def _buckets(self, qk):
        """The bucket of each event, int `(heads, batch, rounds, time)`."""
        heads, batch, time = ops.shape(qk)[:3]
        rotations = ops.convert_to_tensor(self.rotations)
        size = self.rounds * rotations.shape[-1]
        turned = ops.matmul(
            ops.cast(ops.stop_gradient(qk), rotations.dtype),
            ops.reshape(rotations, (heads, 1, self.d_head, size)),
        )
        turned = ops.reshape(
            turned, (heads, batch, time, self.rounds, rotations.shape[-1])
        )
        # Half of each digit's vectors are the other half turned round.
        ends = [end // 2 for end in itertools.accumulate(self.num_buckets)]
        parts = ops.split(turned, ends[:-1], axis=-1) if ends[1:] else [turned]
        bucket, unit = 0, 1
        for part, base in zip(parts, self.num_buckets, strict=True):
            digit = ops.argmax(ops.concatenate([part, -part], axis=-1), axis=-1)
            bucket = bucket + ops.cast(digit, "int32") * unit
            unit *= base
        return ops.transpose(bucket, (0, 1, 3, 2))

    def _sort(self, bucket, visible):
        """Positions by bucket and then by time, real ones first."""
        time = ops.shape(bucket)[-1]
        behind = math.prod(self.num_buckets)
        bucket = ops.where(ops.expand_dims(visible, 0), bucket, behind)
        # No two alike, so that any way of sorting gives the same order.
        key = bucket * time + ops.arange(time, dtype="int32")
        return ops.cast(ops.argsort(key, axis=-1), "int32")

    def _places(self, order):
        """Where in all rounds' order each position is, round by round."""
        place = ops.cast(ops.argsort(order, axis=-1), "int32")
        turn = ops.arange(self.rounds, dtype="int32") * ops.shape(order)[-1]
        return place + ops.expand_dims(turn, 1)

    def _average(self, mixed, total, places, batch, time):
        """The rounds' results, each in the order of time, averaged."""
        heads, rows = self.n_head, self.rounds * time
        mixed = take_rows(ops.reshape(mixed, (heads, batch, rows, self.d_head)), places)
        if self.rounds == 1:
            return ops.squeeze(mixed, 2)
        total = take_rows(ops.reshape(total, (heads, batch, rows, 1)), places)
        share = ops.cast(ops.softmax(total, axis=2), self.compute_dtype)
        return ops.sum(mixed * share, axis=2)
