import numpy as np

from keras_t4r.arguments import optional, whole_number
from keras_t4r.retrieval.item_index import ItemIndex
from keras_t4r.retrieval.stands_in import stands_in
from keras_t4r.retrieval.tail_sample import TailSample

# Vectors that go into the lists at a time.
_VECTORS = 1 << 17
_SEED = 0
# Of the vectors that the lists are learned from: how many a list, how many rounds.
_POINTS_A_LIST, _ROUNDS = 32, 8
# Queries whose own excluded ids are asked for beyond, above which each is asked alone.
_ASKED_BEYOND = 1024


class IVFIndex(ItemIndex):
    """An inverted file: lists of neighbouring items, of which a query reads some.

    With `M` the length of the longest vector, an item `v` becomes
    `(v, sqrt(M² - |v|²))`: all lie on one sphere then, where what is near a query's
    direction is what has a large inner product with it. k-means cuts the sphere into
    `lists` cells; a query reads the items of the `probes` cells whose centres are
    nearest to it, and answers the best by inner product. So the scores are exact, and
    what is approximate is only which items were looked at; with `probes` = `lists` all
    are. Where excluded ids leave fewer than `k`, more lists are read.

    It is faiss's, and needs the extra `keras_t4r[retrieval]`. Beside each vector it
    holds a number and an id; nothing else grows with the catalogue.

    Args:
        probes: int. Lists that a query reads: more are slower, and find more.
        lists: int. `None` for `4 sqrt(items)`, when it is built.
        vocabulary: see `ItemIndex`.

    Raises:
        ImportError: faiss is not installed.

    Example:

    ```python
    index = IVFIndex.of(model)
    model.recommend(sessions, k=10, index=index)
    ```

    References:
    - Jégou et al., Product Quantization for Nearest Neighbor Search, TPAMI 2011
      (inverted files).
    - Bachrach et al., Speeding Up the Xbox Recommender System Using a Euclidean
      Transformation for Inner-Product Spaces, RecSys 2014 (the added number).
    - Douze et al., The Faiss library, 2024.
    """

    def __init__(self, probes=64, lists=None, vocabulary=None):
        super().__init__(vocabulary)
        self.probes = whole_number("probes", probes)
        self.lists = optional(whole_number, "lists", lists)
        self._faiss = _faiss()
        self._index = self._sample = None

    def __len__(self):
        return 0 if self._index is None else self._index.ntotal

    def _build(self, ids, vectors):
        # Short lists are left to small catalogues.
        lists = self.lists or max(1, min(int(4 * len(ids) ** 0.5), len(ids) // 16))
        if len(ids) < lists:
            raise ValueError(
                f"The index has {lists} lists, but there are {len(ids)} items: take "
                "fewer lists."
            )
        self._radius = _longest(vectors)
        index = self._empty(lists, vectors.shape[1])
        index.cp.seed, index.cp.niter = _SEED + 1, _ROUNDS
        # Centres of vectors of one length need not have one.
        index.cp.spherical = False
        index.cp.min_points_per_centroid = 1
        index.cp.max_points_per_centroid = _POINTS_A_LIST
        learned = vectors
        if len(ids) > _POINTS_A_LIST * lists:
            chosen = np.random.default_rng(_SEED).choice(
                len(ids), _POINTS_A_LIST * lists, replace=False
            )
            learned = vectors[np.sort(chosen)]
        index.train(self._on_sphere(learned))
        self._add(index, ids, vectors)
        self._hold(index)

    def _empty(self, lists, dim):
        coarse = self._faiss.IndexFlatL2(dim + 1)
        return self._faiss.IndexIVFFlat(
            coarse, dim + 1, lists, self._faiss.METRIC_INNER_PRODUCT
        )

    def _hold(self, index):
        self._index = index
        self._sample = None

    def _on_sphere(self, vectors):
        left = self._radius**2 - np.einsum("nd,nd->n", vectors, vectors)
        last = np.sqrt(np.maximum(left, 0.0)).astype("float32")
        return np.concatenate([vectors, last[:, None]], axis=1)

    def _add(self, index, ids, vectors):
        for at in range(0, len(ids), _VECTORS):
            part = slice(at, at + _VECTORS)
            index.add_with_ids(self._on_sphere(vectors[part]), ids[part])

    def _update(self, ids, vectors):
        if _longest(vectors) > self._radius:
            # It would lie off the sphere, in a list that few queries read.
            held_ids, held = self._contents()
            kept = np.isin(held_ids, ids, invert=True)
            vectors = np.concatenate([held[kept], vectors])
            self._build(np.concatenate([held_ids[kept], ids]), vectors)
            return
        self._index.remove_ids(self._faiss.IDSelectorBatch(ids))
        self._add(self._index, ids, vectors)
        self._sample = None

    # Searching

    def _search(self, queries, k, exclude):
        # On a smaller scale than the items' sphere the cells' own radii count less
        # against the directions: half was the best of .5, 1 and 2 where measured.
        length = np.linalg.norm(queries, axis=1, keepdims=True)
        scale = np.where(length > 0, 0.5 * self._radius / np.maximum(length, 1e-30), 1)
        if not self._radius:
            scale = np.ones_like(length)
        scale = scale.astype("float32")
        asked = np.concatenate([queries * scale, np.zeros_like(length)], axis=1)
        ids = np.zeros((len(queries), k), "int32")
        scores = np.full((len(queries), k), -np.inf, "float32")
        probes, open_rows = self.probes, np.arange(len(queries))
        while len(open_rows):
            out = exclude if exclude.ndim == 1 else exclude[open_rows]
            found, score = self._probe(asked[open_rows], k, probes, out)
            ids[open_rows] = np.maximum(found, 0)
            score = np.where(found < 0, -np.inf, score)
            scores[open_rows] = score / scale[open_rows]
            if probes >= self._index.nlist:
                break
            open_rows = open_rows[found[:, -1] < 0]
            probes *= 4
        return ids, scores

    def _probe(self, asked, k, probes, exclude):
        """What faiss finds in some lists: ids and products, -1 where there is none."""
        probes = min(probes, self._index.nlist)
        if exclude.ndim == 1:
            return self._ask(asked, k, probes, exclude)
        if exclude.shape[1] > _ASKED_BEYOND:
            rows = [
                self._ask(row[None], k, probes, out[out > 0])
                for row, out in zip(asked, exclude, strict=True)
            ]
            return tuple(np.concatenate(part) for part in zip(*rows, strict=True))
        # Enough for all that is left out, which then makes room.
        most = min(k + exclude.shape[1], len(self))
        found, score = self._ask(asked, most, probes, exclude[0, :0])
        gone = np.logical_or(found < 0, stands_in(found, exclude))
        order = np.argsort(gone, axis=1, kind="stable")[:, :k]
        found = np.where(gone, -1, found)
        return (
            np.take_along_axis(found, order, axis=1),
            np.take_along_axis(score, order, axis=1),
        )

    def _ask(self, asked, k, probes, exclude):
        search = self._faiss.SearchParametersIVF(nprobe=probes)
        if len(exclude):
            out = self._faiss.IDSelectorBatch(exclude)
            # Python must hold both as long as faiss reads them.
            keep = self._faiss.IDSelectorNot(out)
            search = self._faiss.SearchParametersIVF(nprobe=probes, sel=keep)
        score, found = self._index.search(asked, k, params=search)
        return found, score

    def _log_rest(self, queries, ids):
        if self._sample is None:
            self._sample = TailSample.of(len(self), self._lists())
        return self._sample.log_rest(queries, ids)

    # What is held

    def _lists(self):
        """Ids and vectors of each list."""
        lists, width = self._index.invlists, self._index.d
        for number in range(self._index.nlist):
            size = lists.list_size(number)
            if not size:
                continue
            ids = self._faiss.rev_swig_ptr(lists.get_ids(number), size)
            bytes_ = self._faiss.rev_swig_ptr(lists.get_codes(number), size * width * 4)
            yield number, ids, bytes_.view("float32").reshape(size, width)

    def _contents(self):
        ids = np.empty(len(self), "int64")
        vectors = np.empty((len(self), self.dim), "float32")
        at = 0
        for _, of_list, held in self._lists():
            ids[at : at + len(of_list)] = of_list
            vectors[at : at + len(of_list)] = held[:, :-1]
            at += len(of_list)
        return ids, vectors

    def _arrays(self):
        sizes = np.zeros(self._index.nlist, "int64")
        for number, ids, _ in self._lists():
            sizes[number] = len(ids)
        coarse = self._index.quantizer
        return {
            **super()._arrays(),
            "sizes": sizes,
            "centres": coarse.reconstruct_n(0, coarse.ntotal),
            "radius": np.array(self._radius, "float64"),
        }

    def _restore(self, arrays):
        ids, vectors = arrays["ids"], arrays["vectors"]
        sizes, centres = arrays["sizes"], arrays["centres"]
        self._radius = float(arrays["radius"])
        fits = len(ids) == len(vectors) == sizes.sum() and len(sizes) == len(centres)
        # Each by itself as well, for a sum of large ones may go round.
        fits = fits and ((sizes >= 0) & (sizes <= len(ids))).all()
        if not fits or centres.shape[1] != vectors.shape[1] + 1:
            raise ValueError("The arrays are not of one index.")
        index = self._empty(len(sizes), vectors.shape[1])
        index.quantizer.add(np.ascontiguousarray(centres, "float32"))
        # Centres that are there already are not learned.
        index.train(np.zeros((0, index.d), "float32"))
        start = 0
        for number, size in enumerate(sizes.tolist()):
            part = slice(start, start + size)
            codes = self._on_sphere(vectors[part]).view("uint8")
            index.invlists.add_entries(
                number,
                size,
                self._faiss.swig_ptr(np.ascontiguousarray(ids[part])),
                self._faiss.swig_ptr(codes.reshape(-1)),
            )
            start += size
        index.ntotal = len(ids)
        self._hold(index)

    def get_config(self):
        return {**super().get_config(), "probes": self.probes, "lists": self.lists}


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "IVFIndex needs the library faiss: pip install 'keras_t4r[retrieval]'. "
            "ExactIndex needs none."
        ) from error
    return faiss


def _longest(vectors):
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max()))
