from keras_t4r.optimizers.adagrad import RowSparseAdagrad
from keras_t4r.optimizers.adam import RowSparseAdam
from keras_t4r.optimizers.adamw import RowSparseAdamW
from keras_t4r.optimizers.sgd import RowSparseSGD
