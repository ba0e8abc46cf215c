"""Arrow's many layouts of the same values, as those that all of Arrow can read."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def one_array(column):
    """The values of a column in one plain array.

    Views of lists become lists, views of text or bytes large ones; dictionaries and
    runs become the values that they stand for, also within lists. Of views Arrow (19)
    can take nothing, and some of their casts crash.

    Args:
        column: `pyarrow.Array` or `pyarrow.ChunkedArray`.
    """
    chunked = isinstance(column, pa.ChunkedArray)
    if is_plain(column.type):
        return column.combine_chunks() if chunked else column
    chunks = column.chunks if chunked else [column]
    plain = [_plain(chunk) for chunk in chunks or [pa.array([], column.type)]]
    return plain[0] if len(plain) == 1 else pa.concat_arrays(plain)


def is_list(kind):
    """Whether an Arrow type is one of lists; a view is none, see `one_array`."""
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
    )


def is_plain(kind):
    """Whether values of an Arrow type stay as they are."""
    if is_list(kind):
        return is_plain(kind.value_type)
    return not (
        _is_list_view(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_dictionary(kind)
        or pa.types.is_run_end_encoded(kind)
    )


def _is_list_view(kind):
    return pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)


def _plain(array):
    kind = array.type
    if is_plain(kind):
        return array
    if _is_list_view(kind) or is_list(kind):
        return _plain_lists(array)
    if pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if pa.types.is_binary_view(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    # Of a dictionary of views Arrow can take nothing either.
    return _plain(array.dictionary).take(array.indices)


def _plain_lists(array):
    null = array.is_null()
    if _is_list_view(array.type):
        lengths = array.sizes
    elif pa.types.is_fixed_size_list(array.type):
        lengths = pa.array(np.full(len(array), array.type.list_size))
    else:
        lengths = array.value_lengths()
    lengths = lengths.fill_null(0).to_numpy(zero_copy_only=False)
    lengths = np.where(null.to_numpy(zero_copy_only=False), 0, lengths)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    # What `flatten` leaves out are the values of null lists.
    values = _plain(array.flatten())
    return pa.LargeListArray.from_arrays(
        pa.array(offsets), values, mask=null if array.null_count else None
    )
