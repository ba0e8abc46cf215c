import keras
import pytest

import keras_t4r as t4r


@pytest.mark.backends
@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="TensorFlow has such gradients"
)
def test_a_backend_without_gradients_of_rows_is_named():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    with pytest.raises(NotImplementedError, match="which TensorFlow has; on"):
        t4r.optimizers.RowSparseAdam().build(layer.trainable_variables)
