"""From a config to its body."""

from keras_t4r.bodies.bert_family.albert import Albert
from keras_t4r.bodies.bert_family.bert import Bert
from keras_t4r.bodies.bert_family.electra import Electra
from keras_t4r.bodies.bert_family.longformer import Longformer
from keras_t4r.bodies.bert_family.modernbert import ModernBert
from keras_t4r.bodies.bert_family.roberta import Roberta
from keras_t4r.bodies.gpt2 import GPT2
from keras_t4r.bodies.gru import GRU
from keras_t4r.bodies.hstu import HSTU
from keras_t4r.bodies.llama_family.llama import Llama
from keras_t4r.bodies.llama_family.mistral import Mistral
from keras_t4r.bodies.llama_family.qwen2 import Qwen2
from keras_t4r.bodies.llama_family.qwen3 import Qwen3
from keras_t4r.bodies.reformer import Reformer
from keras_t4r.bodies.sasrec import SASRec
from keras_t4r.bodies.transfo_xl import TransfoXL
from keras_t4r.bodies.xlnet import XLNet

_BODIES = (
    XLNet,
    GPT2,
    Bert,
    Roberta,
    Albert,
    Electra,
    Longformer,
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    ModernBert,
    SASRec,
    GRU,
    HSTU,
    TransfoXL,
    Reformer,
)
BODIES = {body.model_type: body for body in _BODIES}


def make_body(config, causal=None, **kwargs):
    """Makes the body that a Hugging Face config describes.

    Args:
        config: a Hugging Face config object, or its dict.
        causal: bool. Overrides what the config says; see `Body`.
        **kwargs: of the layer, such as `name` and `dtype`.

    Returns:
        A `Body`.

    Raises:
        ValueError: no body is known for the config's `model_type`.
    """
    if isinstance(config, dict):
        model_type = config.get("model_type")
    else:
        model_type = getattr(config, "model_type", None)
    if model_type not in BODIES:
        raise ValueError(
            f"No body for {type(config).__name__} (model_type {model_type!r}): use a "
            f"config of {', '.join(sorted(BODIES))}, or a Keras layer of your own."
        )
    return BODIES[model_type](config, causal=causal, **kwargs)
