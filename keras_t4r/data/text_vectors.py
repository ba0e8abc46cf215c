"""Texts → vectors, once, by whatever encoder the user has."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from keras_t4r.arguments import whole_number
from keras_t4r.arrays import as_array
from keras_t4r.files import as_path, new_file
from keras_t4r.files.parquet import write_parquet


def write_text_vectors(path, texts, encode, batch_size=256):
    """Encodes the texts of ids, and writes the vectors by raw id.

    Each text is encoded once, however many ids it stands for, together with texts of
    about its length, so that little is padded. The file appears whole or not at all.

    Ids without a text, null or blank, have no row: whoever reads the file decides what
    they get.

    Args:
        path: path of the parquet file to write: columns `id`, raw ids, and `vector`,
            lists of float32. What is there is replaced.
        texts: dict of raw id, int or text, to text.
        encode: function of a list of texts that gives an array or tensor
            `(texts, width)`: `SentenceTransformer(…).encode`, or a tokenizer and a
            model of Hugging Face's.
        batch_size: int. The most texts in a call of `encode`.

    Returns:
        What was written, a `pyarrow.Table`.

    Raises:
        TypeError: texts are no dict, or a text is none; ids are neither all whole
            numbers of 64 bits nor all text; `encode` is no function, or gives no
            numbers.
        ValueError: no id has a text, or one cannot be written; `encode` gives another
            number of vectors than texts, vectors of several widths, or a number that
            is none.

    Example:

    ```python
    model = sentence_transformers.SentenceTransformer("all-MiniLM-L6-v2")
    titles = {"a": "a red coat", "b": "a blue scarf"}
    write_text_vectors("titles.parquet", titles, model.encode)
    ```
    """
    batch_size = whole_number("batch_size", batch_size)
    # Before the texts are encoded, which takes long.
    path = as_path(path, "vectors")
    if not callable(encode):
        raise TypeError(
            f"encode is {encode!r}; it should be a function of a list of texts."
        )
    texts = _checked(texts)
    ids = _ids(texts)
    distinct = sorted(set(texts.values()), key=lambda text: (len(text), text))
    vectors = _encoded(distinct, encode, batch_size)
    place = {text: row for row, text in enumerate(distinct)}
    rows = vectors[[place[text] for text in texts.values()]]
    flat = pa.array(rows.reshape(-1))
    table = pa.table(
        {
            "id": ids,
            "vector": pa.FixedSizeListArray.from_arrays(flat, rows.shape[1]),
        }
    )
    with new_file(path) as temporary:
        write_parquet(table, temporary)
    return table


def _checked(texts):
    """The ids that have a text."""
    if not isinstance(texts, Mapping):
        raise TypeError(
            f"texts are of type {type(texts).__name__}; give a dict of raw id to text."
        )
    kinds = {type(raw) for raw in texts}
    whole = all(issubclass(kind, (int, np.integer)) for kind in kinds)
    if bool in kinds or not (whole or kinds == {str}):
        raise TypeError(
            "The ids of texts should be all whole numbers or all text; they are of "
            f"{sorted(kind.__name__ for kind in kinds)}."
        )
    found = {}
    for raw, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise TypeError(f"The text of id {raw!r} is {text!r}; it should be text.")
        if text is not None and text.strip():
            found[int(raw) if whole else raw] = text
    if not found:
        raise ValueError("None of the ids has a text: there is nothing to encode.")
    return found


def _ids(texts):
    """They may be such as no file holds."""
    try:
        return pa.array(list(texts))
    except OverflowError as error:
        far = max(texts, key=abs)
        raise TypeError(
            f"Id {far} is beyond int64: give ids of that size as text."
        ) from error
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Id {error.object!r} holds half a character, which no file can: write it "
            "anew."
        ) from error


def _encoded(texts, encode, batch_size):
    """A float32 array `(texts, width)`."""
    found = []
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        vectors = as_array("What encode gave", encode(batch))
        if vectors.dtype.kind not in "fiu":
            raise TypeError(f"encode gave {vectors.dtype}; it should give numbers.")
        width = found[0].shape[1] if found else None
        fits = vectors.ndim == 2 and len(vectors) == len(batch) and vectors.shape[1]
        if not fits or vectors.shape[1] != (width or vectors.shape[1]):
            raise ValueError(
                f"encode gave {vectors.shape} for {len(batch)} texts; it should give a "
                "vector for each, all of one width."
            )
        vectors = vectors.astype("float32")
        bad = ~np.isfinite(vectors).all(axis=1)
        if bad.any():
            raise ValueError(
                f"encode gave a number that is none, or infinite, for the text "
                f"{batch[int(bad.argmax())]!r}."
            )
        found.append(vectors)
    return np.concatenate(found)
