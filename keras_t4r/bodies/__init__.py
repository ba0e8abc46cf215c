"""Architectures that turn event vectors into contextual vectors."""

from keras_t4r.bodies.bert_family.albert import Albert
from keras_t4r.bodies.bert_family.bert import Bert
from keras_t4r.bodies.bert_family.electra import Electra
from keras_t4r.bodies.bert_family.longformer import Longformer
from keras_t4r.bodies.bert_family.modernbert import ModernBert
from keras_t4r.bodies.bert_family.roberta import Roberta
from keras_t4r.bodies.body import Body
from keras_t4r.bodies.gpt2 import GPT2
from keras_t4r.bodies.gru import GRU, GRUConfig
from keras_t4r.bodies.hstu import HSTU, HSTUConfig
from keras_t4r.bodies.huggingface.weights import load_hf_body, load_hf_weights
from keras_t4r.bodies.llama_family.llama import Llama
from keras_t4r.bodies.llama_family.mistral import Mistral
from keras_t4r.bodies.llama_family.qwen2 import Qwen2
from keras_t4r.bodies.llama_family.qwen3 import Qwen3
from keras_t4r.bodies.reformer import Reformer
from keras_t4r.bodies.registry import BODIES, make_body
from keras_t4r.bodies.sasrec import SASRec, SASRecConfig
from keras_t4r.bodies.sizes import session_config
from keras_t4r.bodies.transfo_xl import TransfoXL, TransfoXLConfig
from keras_t4r.bodies.xlnet import XLNet

__all__ = [
    "BODIES",
    "GPT2",
    "GRU",
    "HSTU",
    "Albert",
    "Bert",
    "Body",
    "Electra",
    "GRUConfig",
    "HSTUConfig",
    "Llama",
    "Longformer",
    "Mistral",
    "ModernBert",
    "Qwen2",
    "Qwen3",
    "Reformer",
    "Roberta",
    "SASRec",
    "SASRecConfig",
    "TransfoXL",
    "TransfoXLConfig",
    "XLNet",
    "load_hf_body",
    "load_hf_weights",
    "make_body",
    "session_config",
]
