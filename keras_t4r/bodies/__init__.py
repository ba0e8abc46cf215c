"""Architectures that turn event vectors into contextual vectors."""

from keras_t4r.bodies.bert import Bert
from keras_t4r.bodies.body import Body
from keras_t4r.bodies.gpt2 import GPT2
from keras_t4r.bodies.hf_weights import load_hf_weights
from keras_t4r.bodies.registry import BODIES, make_body
from keras_t4r.bodies.session_config import session_config
from keras_t4r.bodies.xlnet import XLNet

__all__ = [
    "BODIES",
    "GPT2",
    "Bert",
    "Body",
    "XLNet",
    "load_hf_weights",
    "make_body",
    "session_config",
]
