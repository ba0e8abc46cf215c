"""What a step of the exact softmax over a large catalogue costs: time, and memory.

    pip install memray
    KERAS_BACKEND=torch python benchmarks/softmax.py --items 1000000 --dim 64

Loss and gradients of `FullSoftmax` as the head asks for them, compiled where the
backend compiles. Memory is what is allocated at most during a step, above hidden
states, table and bias, which are there before; the table's gradient, as large as the
table, is part of it. Allocations are counted, not pages of the process, which hold what
was freed as well.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def step_of(loss):
    """A function of `(hidden, table, bias, targets, weights)`: loss and gradients."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def step(*arrays):
            with tf.GradientTape() as tape:
                tape.watch(arrays[:3])
                total = loss.call(*arrays)
            return total, tape.gradient(total, arrays[:3])

        return step
    if backend == "jax":
        import jax

        step = jax.jit(jax.value_and_grad(loss.call, argnums=(0, 1, 2)))
        return lambda *arrays: jax.block_until_ready(step(*arrays))

    def step(*arrays):
        import torch

        leaves = [x.detach().requires_grad_() for x in arrays[:3]]
        total = loss.call(*leaves, *arrays[3:])
        return total, torch.autograd.grad(total, leaves)

    return step


def most_allocated(run):
    """Bytes that are allocated at most while `run()` runs."""
    import memray

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "allocations"
        with memray.Tracker(file, native_traces=False):
            run()
        return memray.FileReader(file).metadata.peak_memory


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--targets", type=int, default=500)
    parser.add_argument("--chunks", choices=["none", "targets", "items"])
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()

    import keras
    import numpy as np

    import keras_t4r as t4r

    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, "float32") * np.float32(0.1)

    items, count = arguments.items, arguments.targets
    arrays = [
        normal(count, arguments.dim),
        normal(items, arguments.dim),
        normal(items),
        rng.integers(2, items, count).astype("int32"),
        np.ones(count, "float32"),
    ]
    arrays = [keras.ops.convert_to_tensor(x) for x in arrays]
    step = step_of(t4r.losses.FullSoftmax(chunks=arguments.chunks))
    step(*arrays)
    times = []
    for _ in range(arguments.steps):
        start = time.perf_counter()
        step(*arrays)
        times.append(time.perf_counter() - start)
    most = most_allocated(lambda: step(*arrays))
    table = items * arguments.dim * 4
    print(
        f"{keras.backend.backend()}: {items} items x {arguments.dim}, {count} targets: "
        f"{1e3 * statistics.median(times):.0f} ms a step, {most / 1e6:.0f} MB at most, "
        f"of which the table's gradient is {table / 1e6:.0f}"
    )


if __name__ == "__main__":
    sys.exit(main())
