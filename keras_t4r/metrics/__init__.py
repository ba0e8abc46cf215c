from keras_t4r.metrics.map import MAP
from keras_t4r.metrics.mrr import MRR
from keras_t4r.metrics.ndcg import NDCG
from keras_t4r.metrics.precision import Precision
from keras_t4r.metrics.ranking_metric import RankingMetric
from keras_t4r.metrics.ranks import target_ranks
from keras_t4r.metrics.recall import Recall
