"""Counts of which item follows which."""

import numpy as np
from scipy import sparse


def count_transitions(items, sessions, cardinality, span=1, bidirectional=False):
    """How often each item was followed by each.

    `c(i, j) = sum over the pairs of an event of i and a later one of j in the same
    session, d <= span steps apart, of 1 / d`

    Args:
        items: int array `(events,)`. Items of sessions, oldest first.
        sessions: int array `(events,)`. The session of each event; events of one
            session stand together.
        cardinality: int. The highest id + 1.
        span: int. The most steps between the two items of a pair.
        bidirectional: bool. Whether `c(i, j)` counts `j` before `i` as well.

    Returns:
        A `scipy.sparse.csr_matrix` `(cardinality, cardinality)`.
    """
    sources, targets, weights = [], [], []
    for distance in range(1, span + 1):
        same = sessions[distance:] == sessions[:-distance]
        sources.append(items[:-distance][same])
        targets.append(items[distance:][same])
        weights.append(np.full(int(same.sum()), 1.0 / distance))
    pairs = (np.concatenate(sources), np.concatenate(targets))
    shape = (cardinality, cardinality)
    counts = sparse.csr_matrix((np.concatenate(weights), pairs), shape)
    return counts + counts.T if bidirectional else counts


def heaviest(table, most, tie_rank):
    """The `most` largest entries of each row of a sparse matrix.

    Args:
        table: `scipy.sparse` matrix `(rows, columns)`.
        most: int.
        tie_rank: array `(columns,)`. Of equal entries those of the highest rank go
            first.

    Returns:
        int arrays `row`, `place` and `column`, and the `value` of each kept entry;
        `place` counts a row's kept entries from 0 on, in no special order.
    """
    table = table.tocsr()
    sizes = np.diff(table.indptr)
    row = np.repeat(np.arange(table.shape[0]), sizes)
    column, value = table.indices, table.data
    # Most rows are short; to sort them would cost more than all else.
    long = np.flatnonzero((sizes > most)[row])
    order = long[np.lexsort((-tie_rank[column[long]], -value[long], row[long]))]
    place = np.arange(len(row)) - table.indptr[row]
    column, value = column.copy(), value.copy()
    column[long], value[long] = column[order], value[order]
    keep = place < most
    return row[keep], place[keep], column[keep], value[keep]
