"""Gradients of rows on one device or two; run as a program of its own.

    python mirrored_rows.py DEVICES

Prints JSON: what each optimizer makes of a table, and of its average.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf
from row_sparse_models import OPTIMIZERS

DEVICES = int(sys.argv[1])
STEPS, ROWS = 3, 8
# A step's rows; a device has every other one. Row 2 is on both, and twice on one.
INDICES = np.array([2, 2, 5, 3, 2, 7], "int32")
VALUES = np.random.default_rng(0).normal(size=(STEPS, len(INDICES), 2))


def trained(make, strategy, arguments):
    with strategy.scope():
        variable = keras.Variable(np.ones((ROWS, 2)), dtype="float32")
        optimizer = make(0.1, **arguments)
        optimizer.build([variable])

    @tf.function
    def step(values):
        def of_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            own = tf.range(replica, len(INDICES), DEVICES)
            part = tf.gather(values, own), tf.gather(INDICES, own)
            optimizer.apply(
                [tf.IndexedSlices(*part, tf.constant([ROWS, 2]))], [variable]
            )

        strategy.run(of_replica)

    for values in VALUES.astype("float32"):
        step(tf.constant(values))
    found = [variable.numpy().tolist()]
    if optimizer.use_ema:
        (average,) = optimizer._model_variables_moving_average
        found.append(average.numpy().tolist())
    return found


def main():
    (cpu,) = tf.config.list_physical_devices("CPU")
    virtual = [tf.config.LogicalDeviceConfiguration()] * DEVICES
    tf.config.set_logical_device_configuration(cpu, virtual)
    names = [f"CPU:{i}" for i in range(DEVICES)]
    strategy = tf.distribute.MirroredStrategy(names)
    found = {}
    for kind in ("adamw", "nesterov", "average"):
        row_sparse, _, arguments = OPTIMIZERS[kind]
        found[kind] = trained(row_sparse, strategy, arguments)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
