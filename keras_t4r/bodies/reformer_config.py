"""What a `ReformerConfig` comes to, and what of it is refused."""

import math


def chunk_lengths(config):
    """Lengths of the chunks of the kinds of layers that there are."""
    return [
        getattr(config, f"{kind}_attn_chunk_length")
        for kind in sorted(set(config.attn_layers))
    ]


def number_of_positions(config):
    """The most events for which there are position embeddings."""
    if config.axial_pos_embds:
        return min(config.max_position_embeddings, math.prod(config.axial_pos_shape))
    return config.max_position_embeddings


def default_num_buckets(length, chunk_length):
    """About two buckets a chunk: a power of 2, or two of them if it is a large one."""
    power = max(1, (2 * (length // chunk_length)).bit_length() - 1)
    if 2**power <= 2 * max(math.isqrt(length // chunk_length), chunk_length):
        return 2**power
    return [2 ** (power // 2), 2 ** (power - power // 2)]


def check_reformer_config(config, causal):
    """Raises `ValueError` where the body cannot be what `config` says."""
    kinds = set(config.attn_layers)
    if not kinds or kinds - {"lsh", "local"}:
        _refuse(config, "attn_layers", 'each layer is "lsh" or "local"')
    if len(config.attn_layers) != config.num_hidden_layers:
        _refuse(config, "num_hidden_layers", "it is the length of attn_layers")
    for kind in kinds:
        name = f"{kind}_attn_chunk_length"
        if not getattr(config, name):
            _refuse(config, name, "attention is in chunks")
    if config.axial_pos_embds:
        if sum(config.axial_pos_embds_dim) != config.hidden_size:
            _refuse(
                config,
                "axial_pos_embds_dim",
                f"the two must add up to the width {config.hidden_size}",
            )
        if len(config.axial_pos_shape) != 2 or len(config.axial_pos_embds_dim) != 2:
            _refuse(config, "axial_pos_shape", "positions have two axes")
    if "lsh" in kinds:
        _check_hashing(config, causal)


def _check_hashing(config, causal):
    number = config.num_buckets or ()
    if any(n < 2 or n % 2 for n in ([number] if isinstance(number, int) else number)):
        _refuse(config, "num_buckets", "buckets come in pairs")
    positions = number_of_positions(config)
    if causal and positions > config.lsh_attn_chunk_length:
        raise ValueError(
            f"Causal Reformer with lsh layers of {config.lsh_attn_chunk_length} events "
            f"a chunk and {positions} positions is not supported: sorting by bucket "
            "lets a later event decide what earlier ones see. Use attn_layers of "
            '"local" only, or lsh_attn_chunk_length for all positions.'
        )


def _refuse(config, option, reason):
    raise ValueError(
        f"{type(config).__name__}({option}={getattr(config, option)!r}) is not "
        f"supported: {reason}."
    )
