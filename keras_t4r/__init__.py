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

# Layers: features → scheme → body → head
from keras_t4r.bodies.sizes import session_config  # isort: skip
from keras_t4r.layers.features.sequence_embedding_features import (
    SequenceEmbeddingFeatures,
)
from keras_t4r.layers.features.stochastic_swap_noise import StochasticSwapNoise
from keras_t4r.layers.heads.experts.cgc import CGC
from keras_t4r.layers.heads.experts.mmoe import MMoE
from keras_t4r.layers.heads.experts.ple import PLE
from keras_t4r.layers.heads.generator_head import GeneratorHead
from keras_t4r.layers.heads.next_item_head import NextItemHead
from keras_t4r.layers.heads.no_repeat import NoRepeat
from keras_t4r.layers.heads.replaced_token_detection import ReplacedTokenDetection
from keras_t4r.layers.heads.session_summary import SessionSummary
from keras_t4r.layers.heads.task_tower import TaskTower
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
from keras_t4r.training.memory_strength import tune_memory
from keras_t4r.training.window_report import WindowReport
from keras_t4r.training.windows import fit_windows
from keras_t4r.version import __version__
