"""Vectors such as a trained table's: neighbours in clusters, popular ones longer."""

import numpy as np


def structured_items(items, dim, queries, seed=0):
    """Vectors `(items, dim)`, whose last number is a bias, and queries of them.

    The cluster of an item is drawn by Zipf's law, its centre and its own part from a
    Gaussian whose spectrum falls; popularity, by Zipf's law too, makes the vector
    longer and the bias larger. A query is a mixture of two items that were drawn by
    their popularity, and 1 for the bias.
    """
    random, width = np.random.default_rng(seed), dim - 1
    spectrum = np.arange(1, width + 1) ** -0.5
    spectrum /= np.linalg.norm(spectrum)
    centres = random.normal(size=(int(2 * items**0.5), width)) * spectrum
    size = np.arange(1, len(centres) + 1) ** -0.7
    cluster = random.choice(len(centres), items, p=size / size.sum())
    popularity = -np.log(random.permutation(items) + 10.0)
    chance = np.exp(popularity) / np.exp(popularity).sum()
    popularity -= popularity.mean()
    own = 0.7 * random.normal(size=(items, width)) * spectrum
    longer = 1 + 0.1 * np.clip(popularity, -1, 5)
    vectors = (centres[cluster] + own) * longer[:, None]
    first, second = (vectors[random.choice(items, queries, p=chance)] for _ in range(2))
    noise = 0.3 * random.normal(size=(queries, width)) * spectrum
    asked = 6 * (0.7 * first + 0.3 * second + noise)
    return (
        np.concatenate([vectors, 0.6 * popularity[:, None]], axis=1).astype("float32"),
        np.concatenate([asked, np.ones((queries, 1))], axis=1).astype("float32"),
    )
