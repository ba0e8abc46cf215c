"""The best items of a catalogue of millions, without scoring all of them."""

from keras_t4r.retrieval.exact_index import ExactIndex
from keras_t4r.retrieval.index_files import load_index
from keras_t4r.retrieval.item_index import ItemIndex
from keras_t4r.retrieval.ivf_index import IVFIndex
