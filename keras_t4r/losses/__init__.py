from keras_t4r.losses import samplers
from keras_t4r.losses.binary_cross_entropy import BinaryCrossEntropy
from keras_t4r.losses.bpr_max import BPRMax
from keras_t4r.losses.full_softmax import FullSoftmax
from keras_t4r.losses.generalized_binary_cross_entropy import (
    GeneralizedBinaryCrossEntropy,
)
from keras_t4r.losses.next_item_loss import NextItemLoss
from keras_t4r.losses.products.cross_entropy import softmax_cross_entropy
from keras_t4r.losses.sampled_loss import SampledLoss
from keras_t4r.losses.sampled_softmax import SampledSoftmax
from keras_t4r.losses.scalable_cross_entropy import ScalableCrossEntropy
from keras_t4r.losses.top1_max import TOP1Max
