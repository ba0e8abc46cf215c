"""Session-based and sequential recommendation with Transformers, in Keras 3."""

# The schema, and data: clicks → sessions → batches
from keras_t4r.schema import (  # isort: skip
    ColumnSchema,
    Domain,
    Schema,
    Tags,
    Vocabulary,
)
from keras_t4r.data.clicks.click_log import ClickLog
from keras_t4r.data.etl.session_etl import SessionETL
from keras_t4r.data.loader.sequence_loader import KerasSequenceLoader
from keras_t4r.data.nvtabular.workflow import NVTabularWorkflow
from keras_t4r.data.synthetic.synthetic_clicks import SyntheticClicks
from keras_t4r.data.text_vectors import write_text_vectors
from keras_t4r.data.vectors_by_id import vectors_by_id

# Layers: features → scheme → body → head
from keras_t4r.bodies.sizes import session_config  # isort: skip
from keras_t4r.layers.context.context_features import ContextFeatures
from keras_t4r.layers.context.context_fusion import ContextFusion
from keras_t4r.layers.context.context_token import ContextToken
from keras_t4r.layers.context.drop_context_token import DropContextToken
from keras_t4r.layers.features.columns.buckets import Buckets
from keras_t4r.layers.features.columns.column_table import ColumnTable
from keras_t4r.layers.features.columns.given_vectors import GivenVectors
from keras_t4r.layers.features.columns.hashed_embedding import HashedEmbedding
from keras_t4r.layers.features.columns.id_embedding import IdEmbedding
from keras_t4r.layers.features.columns.item_attribute import ItemAttribute
from keras_t4r.layers.features.columns.item_content import ItemContent
from keras_t4r.layers.features.columns.periodic_time import PeriodicTime
from keras_t4r.layers.features.columns.pretrained_embedding import PretrainedEmbedding
from keras_t4r.layers.features.columns.quotient_remainder import (
    QuotientRemainderEmbedding,
)
from keras_t4r.layers.features.columns.soft_embedding import SoftEmbedding
from keras_t4r.layers.features.columns.time_gap import TimeGap
from keras_t4r.layers.features.sequence_embedding_features import (
    SequenceEmbeddingFeatures,
)
from keras_t4r.layers.features.stochastic_swap_noise import StochasticSwapNoise
from keras_t4r.layers.features.table_plan import inferred_dims
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

# Losses, metrics, optimizers, models
from keras_t4r import losses, metrics, optimizers, retrieval  # isort: skip
from keras_t4r.models.session_model import SessionModel

# Serving
from keras_t4r.serving.saved_model import export_saved_model
from keras_t4r.serving.tensorflow_ensemble import export_tensorflow_ensemble
from keras_t4r.serving.triton_client import TritonClient
from keras_t4r.serving.triton_server import TritonServer

# Training by window of time
from keras_t4r.training import baselines
from keras_t4r.training.copy_fit import tune_copy
from keras_t4r.training.memory_strength import tune_memory
from keras_t4r.training.window_report import WindowReport
from keras_t4r.training.windows import fit_windows
from keras_t4r.version import __version__
