from keras_t4r.losses.cross_entropy import softmax_cross_entropy
from keras_t4r.losses.full_softmax import FullSoftmax
from keras_t4r.losses.next_item_loss import NextItemLoss
from keras_t4r.losses.sampled_softmax import SampledSoftmax
