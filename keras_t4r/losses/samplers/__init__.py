from keras_t4r.losses.samplers.in_batch import InBatchSampler
from keras_t4r.losses.samplers.log_uniform import LogUniformSampler
from keras_t4r.losses.samplers.mixed import MixedSampler
from keras_t4r.losses.samplers.negative_sampler import NegativeSampler
from keras_t4r.losses.samplers.popularity import PopularitySampler
from keras_t4r.losses.samplers.uniform import UniformSampler
