from abc import ABC, abstractmethod

import numpy as np

from keras_t4r.arguments import truth, whole_number
from keras_t4r.files import new_folder
from keras_t4r.retrieval.checks import check_excluded, check_ids, check_vectors
from keras_t4r.retrieval.index_files import INDEX, read_index, write_index


class ItemIndex(ABC):
    """Vectors of items, and the search for those of the largest inner product.

    `search` answers, for a query `q`, the `k` items `i` of the largest `q · v_i`. With
    the vectors of `NextItemHead.items` and the queries of `NextItemHead.query` these
    are the items of the best scores. An index belongs to one vocabulary, whose
    fingerprint it carries: `SessionModel.recommend` refuses that of another.

    This is what all kinds have in common: `ExactIndex`, and `IVFIndex`.

    Args:
        vocabulary: string. Fingerprint of the vocabulary that the ids are of, `None`
            without one. `of` gives it.

    Attributes:
        dim: int. Numbers of a vector; `None` before there are any.

    Example:

    ```python
    index = IVFIndex.of(model)
    model.recommend(sessions, k=10, index=index)
    index.save("models/index")
    ```
    """

    def __init__(self, vocabulary=None):
        if vocabulary is not None and not isinstance(vocabulary, str):
            raise TypeError(
                f"vocabulary is {vocabulary!r}; it should be a fingerprint, as of "
                "Vocabulary.fingerprint."
            )
        self.vocabulary = vocabulary
        self.dim = None

    @classmethod
    def of(cls, model, head=None, **arguments):
        """The index of a model's items.

        Args:
            model: `SessionModel`.
            head: string. Name of the output that answers, where several do.
            arguments: of the index.
        """
        index = cls(vocabulary=model.item_fingerprint, **arguments)
        return index.build(*model.item_vectors(head))

    def refresh(self, model, head=None):
        """Takes over what a model's items have become: trained further, or more.

        Where most vectors changed, as by training, the index is built anew; else the
        changed ones and the new ones are put in.

        Args:
            model: `SessionModel`, whose vocabulary is that of the index, or was
                extended from it.
            head: as of `of`.

        Raises:
            ValueError: the model has another vocabulary.
        """
        model.check_extends(self.vocabulary)
        ids, vectors = model.item_vectors(head)
        held_ids, held = self._contents()
        same = _are_held(held_ids, held, ids, vectors)
        if 2 * same.sum() < len(ids) or not np.isin(held_ids, ids).all():
            self.build(ids, vectors)
        else:
            self.update(ids[~same], vectors[~same])
        self.vocabulary = model.item_fingerprint
        return self

    def holds(self, ids, vectors, rounding=0.0):
        """Whether each item is held, with that vector: a bool array `(n,)`.

        Args:
            ids: int array `(n,)`.
            vectors: float32 array `(n, dim)`.
            rounding: float. How far numbers may differ, and by what share of them.
        """
        return _are_held(*self._contents(), ids, vectors, rounding)

    def build(self, ids, vectors):
        """Holds these items, and no others.

        Args:
            ids: ints `(n,)`, from 1 on, each once.
            vectors: float array `(n, dim)`.

        Returns:
            The index itself.

        Raises:
            TypeError: ids are no whole numbers.
            ValueError: an id stands twice or is no item's, vectors are fewer or more
                than ids, or have a value that is no finite number. The index is as
                before then.
        """
        ids = check_ids(ids)
        vectors = check_vectors("items", vectors, len(ids))
        if not len(ids):
            raise ValueError("There are no items to build an index of.")
        self._build(ids, vectors)
        self.dim = vectors.shape[1]
        return self

    def update(self, ids, vectors):
        """Puts items in, in place of those of the same ids.

        An `IVFIndex` is built anew where a vector is longer than all that it was built
        of.

        Args, raises: as of `build`; and the vectors must be as long as those held.
        """
        if self.dim is None:
            return self.build(ids, vectors)
        ids = check_ids(ids)
        vectors = check_vectors("items", vectors, len(ids), self.dim)
        if len(ids):
            self._update(ids, vectors)
        return self

    def search(self, queries, k, exclude=None):
        """The `k` items of the largest inner product with each query.

        Args:
            queries: float array `(n, dim)`.
            k: int.
            exclude: ids not to be answered: `(m,)` for all queries, or `(n, m)`, with
                0 for none. Answers are not shorter for it, as long as items are left.

        Returns:
            The pair of ids, int32 `(n, k)`, and scores, float32 `(n, k)`, best first.
            Where there are fewer than `k` items, the last places hold none: their id
            is 0, and their score minus infinity.

        Raises:
            ValueError: the index is empty, or the queries are not as long as its
                vectors or have a value that is no finite number.
        """
        queries, k = self._queries(queries), whole_number("k", k)
        exclude = check_excluded(exclude, len(queries))
        ids = np.zeros((len(queries), k), "int32")
        scores = np.full((len(queries), k), -np.inf, "float32")
        if len(queries):
            most = min(k, len(self))
            ids[:, :most], scores[:, :most] = self._search(queries, most, exclude)
        return ids, scores

    def log_rest(self, queries, ids):
        """What all items but some add up to: `log sum over the others of exp(q · v)`.

        Args:
            queries: float array `(n, dim)`.
            ids: ints `(n, m)`, each once in its row; 0 is none.

        Returns:
            A float64 array `(n,)`; minus infinity where there are no others.
        """
        return self._log_rest(self._queries(queries), np.asarray(ids, "int64"))

    def _queries(self, queries):
        if self.dim is None or not len(self):
            raise ValueError(
                f"The {type(self).__name__} holds no items: call build first."
            )
        return check_vectors("queries", queries, dim=self.dim)

    # Files

    def save(self, path, overwrite=False):
        """Writes a folder, which appears whole or not at all. No pickle.

        Raises:
            FileExistsError: it is there already, and `overwrite` is false; or it holds
                a file that is none of an index, which is never replaced.
            OSError: the disk is full, or the place may not be written to.
            TypeError: it is no path, or `overwrite` no truth value.
        """
        if self.dim is None:
            raise ValueError(
                f"The {type(self).__name__} holds no items: call build first."
            )
        overwrite = truth("overwrite", overwrite)
        with new_folder(path, overwrite, known_by=INDEX) as folder:
            write_index(folder, type(self).__name__, self.get_config(), self._arrays())

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: there is no index at the path.
            TypeError: it is no path.
            ValueError: it is of another kind, or damaged.
        """
        config, arrays = read_index(path, cls.__name__)
        try:
            index = cls(**config)
            arrays["ids"] = check_ids(arrays["ids"])
            check_vectors("items", arrays["vectors"], len(arrays["ids"]))
            index._restore(arrays)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"The index at {path} does not fit together: build it again."
            ) from error
        index.dim = arrays["vectors"].shape[1]
        return index

    def get_config(self):
        """The arguments that the index was made with."""
        return {"vocabulary": self.vocabulary}

    # What a kind is

    @abstractmethod
    def __len__(self):
        """How many items there are."""

    @abstractmethod
    def _build(self, ids, vectors):
        """As `build`, of checked arguments; the arrays must not be changed."""

    @abstractmethod
    def _update(self, ids, vectors):
        """As `update`, of checked arguments."""

    @abstractmethod
    def _search(self, queries, k, exclude):
        """As `search`, of checked arguments and at most as many as there are."""

    @abstractmethod
    def _log_rest(self, queries, ids):
        """As `log_rest`, of checked arguments."""

    @abstractmethod
    def _contents(self):
        """The pair of ids `(n,)` and vectors `(n, dim)`, in any order."""

    def _arrays(self):
        """Arrays by name, for `save`."""
        ids, vectors = self._contents()
        return {"ids": ids, "vectors": vectors}

    def _restore(self, arrays):
        """Holds what `_arrays` gave."""
        self._build(arrays["ids"], arrays["vectors"])


def _are_held(held_ids, held, ids, vectors, rounding=0.0):
    """As `ItemIndex.holds`."""
    same = np.zeros(len(ids), bool)
    if not len(held_ids) or held.shape[1] != vectors.shape[1]:
        return same
    order = np.argsort(held_ids)
    place = np.searchsorted(held_ids, ids, sorter=order)
    place = order[np.minimum(place, len(order) - 1)]
    same = held_ids[place] == ids
    there = held[place[same]]
    wanted = vectors[same]
    alike = (
        np.isclose(there, wanted, rounding, rounding) if rounding else there == wanted
    )
    same[same] = alike.all(axis=1)
    return same
