"""Which sessions stand in which batch, and how wide each batch is padded."""

from dataclasses import dataclass

import numpy as np

TIME_MULTIPLE = 4
POOL_BATCHES = 64


@dataclass(frozen=True)
class BatchPlan:
    """The batches of one buffer of sessions, for one rank.

    Args:
        order: int array `(sessions of the rank,)`. Sessions in batch order.
        batch_size: int. Sessions a batch; the last batch may hold fewer.
        times: int array `(batches,)`. Padded length of each batch.
    """

    order: np.ndarray
    batch_size: int
    times: np.ndarray

    def __len__(self):
        return len(self.times)

    def rows(self, index):
        first = index * self.batch_size
        return self.order[first : first + self.batch_size]

    @property
    def opens_with_two_times(self):
        return len(self) > 1 and self.times[0] != self.times[1]


def round_up_time(lengths, max_length):
    """Lengths rounded up to few distinct values, at most `max_length`."""
    return np.minimum(-(-lengths // TIME_MULTIPLE) * TIME_MULTIPLE, max_length)


def times_can_vary(short, sessions, step, buffer, drop_last):
    """Whether every epoch of a random order can open with two different times.

    It cannot where nearly all sessions are as long as allowed; all batches are
    then padded to the full length, which costs next to nothing.

    Args:
        short: int. Sessions whose time is below the longest.
        sessions: int. All sessions.
        step: int. Sessions of a full batch, over all ranks.
        buffer: int. Sessions of a buffer, a multiple of `step`.
        drop_last: bool. Whether sessions that fill no batch are left out.
    """
    full, rest = divmod(sessions, step)
    if full + bool(rest and not drop_last) < 2:
        # A single batch has one time, unless it holds other sessions each epoch.
        return not (rest and drop_last)
    whole, last = divmod(full * step, buffer)
    if whole > 1 or last:
        # The epoch opens with a whole buffer; the last one may not be that.
        rest += last if last else buffer
        whole -= not last
        pools = whole * -(-buffer // (POOL_BATCHES * step))
    else:
        pools = -(-full // POOL_BATCHES)
    # A pool with `step` short sessions begins with a short batch; this many
    # have to meet in one of the pools, however they fall.
    return short - rest >= pools * step


def make_plan(
    lengths, batch_size, max_length, *, rng, trim, drop_last, rank, world_size
):
    """Lays sessions out in batches.

    All ranks draw the same order and take every `world_size`-th session of it,
    so that their batches have equal sizes and equal times, and together hold
    each session once. Where the last step has no session left for some ranks,
    a few others fill it up (at most `world_size - 1`).

    With an `rng`, sessions are permuted; with `trim` too, they are sorted by
    length within large pools of the permuted order and cut into batches, which
    are permuted again: each batch then holds random sessions of like length.

    Args:
        lengths: int array `(sessions,)`. Events of each session, truncated.
        batch_size: int. Sessions a batch on each rank.
        max_length: int. Longest time.
        rng: `numpy.random.Generator`, or `None` to keep the order.
        trim: bool. Whether batches are as wide as their longest session asks
            for, or all `max_length` wide.
        drop_last: bool. Whether to leave out the sessions (random ones, with an
            `rng`) that do not fill a batch.
        rank: int. Which share to take.
        world_size: int. Number of shares.

    Returns:
        A `BatchPlan`.
    """
    step = batch_size * world_size
    order = np.arange(len(lengths)) if rng is None else rng.permutation(len(lengths))
    full = len(order) // step
    body, tail = order[: full * step], order[full * step :]
    if drop_last:
        tail = tail[:0]
    if len(tail) % world_size:
        missing = -len(tail) % world_size
        tail = np.concatenate([tail, np.resize(order[::-1], missing)])
    times = round_up_time(lengths, max_length)
    if trim and rng is not None:
        body = _bucket(body, times, step)
        body = body.reshape(full, step)[rng.permutation(full)].reshape(-1)
    order = np.concatenate([body, tail])
    if trim and len(order):
        batch_times = np.maximum.reduceat(times[order], np.arange(0, len(order), step))
    else:
        batch_times = np.full(-(-len(order) // step), max_length)
    if trim and len(batch_times) > 1:
        _open_with_two_times(order, batch_times, full, step, max_length, rng)
    mine = order.reshape(-1, world_size)[:, rank]
    return BatchPlan(mine, batch_size, batch_times)


def _bucket(order, times, step):
    """Sorts each pool of `order` by time; equal times stay in random order."""
    pool = POOL_BATCHES * step
    whole = len(order) // pool * pool
    pools = [*order[:whole].reshape(-1, pool), order[whole:]]
    keys = times.astype(np.uint16) if times.max(initial=0) < 2**16 else times
    return np.concatenate([p[keys[p].argsort(kind="stable")] for p in pools])


def _open_with_two_times(order, times, full, step, max_length, rng):
    """Makes the first two batches differ in time, in place, where any differ.

    On TensorFlow, Keras reads the first two batches to learn which dimensions
    vary; were their times equal, it would refuse every other. `times_can_vary`
    says beforehand whether this will succeed in every epoch.
    """
    if times[0] != times[1]:
        return
    others = np.flatnonzero(times[:full] != times[0])
    if rng is not None and len(others):
        pair = [1, others[0]]
        batches = order[: full * step].reshape(full, step)
        batches[pair] = batches[pair[::-1]]
        times[pair] = times[pair[::-1]]
    else:
        times[1] = min(times[1] + TIME_MULTIPLE, max_length)
