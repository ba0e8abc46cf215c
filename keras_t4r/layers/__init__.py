from keras_t4r.layers.context.context_features import ContextFeatures
from keras_t4r.layers.context.context_fusion import ContextFusion
from keras_t4r.layers.context.context_token import ContextToken
from keras_t4r.layers.context.drop_context_token import DropContextToken
from keras_t4r.layers.features.sequence_embedding_features import (
    SequenceEmbeddingFeatures,
)
from keras_t4r.layers.features.stochastic_swap_noise import StochasticSwapNoise
from keras_t4r.layers.heads.copy_mechanism import CopyMechanism
from keras_t4r.layers.heads.experts.cgc import CGC
from keras_t4r.layers.heads.experts.mmoe import MMoE
from keras_t4r.layers.heads.experts.ple import PLE
from keras_t4r.layers.heads.generator_head import GeneratorHead
from keras_t4r.layers.heads.next_item_head import NextItemHead
from keras_t4r.layers.heads.no_repeat import NoRepeat
from keras_t4r.layers.heads.replaced_token_detection import ReplacedTokenDetection
from keras_t4r.layers.heads.session_summary import SessionSummary
from keras_t4r.layers.heads.task_tower import TaskTower
from keras_t4r.layers.interactions.compressed_interaction import CompressedInteraction
from keras_t4r.layers.interactions.cross_network import CrossNetwork
from keras_t4r.layers.interactions.dot_interaction import DotInteraction
from keras_t4r.layers.keep_mask import KeepMask
from keras_t4r.layers.memory.transition_memory import TransitionMemory
from keras_t4r.layers.schemes.causal_language_modeling import CausalLanguageModeling
from keras_t4r.layers.schemes.masked_language_modeling import MaskedLanguageModeling
from keras_t4r.layers.schemes.masking_scheme import MaskingScheme
from keras_t4r.layers.schemes.permutation_language_modeling import (
    PermutationLanguageModeling,
)
from keras_t4r.layers.score_step import ScoreStep
from keras_t4r.layers.transformer_block import TransformerBlock
