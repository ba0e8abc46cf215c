"""Session-based and sequential recommendation with Transformers, in Keras 3."""

# The schema, and data: clicks → sessions → batches
from keras_t4r.schema import ColumnSchema, Domain, Schema, Tags  # isort: skip
from keras_t4r.data.click_log import ClickLog
from keras_t4r.data.etl import SessionETL
from keras_t4r.data.nvtabular_workflow import NVTabularWorkflow
from keras_t4r.data.sequence_loader import KerasSequenceLoader
from keras_t4r.data.synthetic import SyntheticClicks

# Layers: features → scheme → body → head
from keras_t4r.bodies.session_config import session_config  # isort: skip
from keras_t4r.layers.causal_language_modeling import CausalLanguageModeling
from keras_t4r.layers.masked_language_modeling import MaskedLanguageModeling
from keras_t4r.layers.next_item_head import NextItemHead
from keras_t4r.layers.permutation_language_modeling import (
    PermutationLanguageModeling,
)
from keras_t4r.layers.replaced_token_detection import ReplacedTokenDetection
from keras_t4r.layers.sequence_embedding_features import SequenceEmbeddingFeatures
from keras_t4r.layers.stochastic_swap_noise import StochasticSwapNoise
from keras_t4r.layers.transformer_block import TransformerBlock
from keras_t4r.layers.transition_memory import TransitionMemory

# Losses, metrics, models
from keras_t4r import losses, metrics  # isort: skip
from keras_t4r.models.session_model import SessionModel

# Serving
from keras_t4r.serving.saved_model import export_saved_model
from keras_t4r.serving.tensorflow_ensemble import export_tensorflow_ensemble
from keras_t4r.serving.triton_client import TritonClient
from keras_t4r.serving.triton_server import TritonServer

# Training by window of time
from keras_t4r.training import baselines
from keras_t4r.training.fit_windows import fit_windows
from keras_t4r.training.window_report import WindowReport
from keras_t4r.version import __version__
