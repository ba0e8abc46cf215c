import numpy as np
import pytest
from structured_items import structured_items

from keras_t4r.retrieval import ExactIndex, IVFIndex


@pytest.fixture(scope="session")
def faiss():
    return pytest.importorskip("faiss", reason="faiss is not installed")


@pytest.fixture(params=["exact", "ivf"])
def kind(request):
    """The class of each kind of index."""
    if request.param == "ivf":
        request.getfixturevalue("faiss")
    return {"exact": ExactIndex, "ivf": IVFIndex}[request.param]


@pytest.fixture(scope="session")
def items():
    """Ids in no order, their vectors, and queries."""
    vectors, queries = structured_items(3000, 17, 30)
    return np.random.default_rng(1).permutation(np.arange(2, 3002)), vectors, queries
