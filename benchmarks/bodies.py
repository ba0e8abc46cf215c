"""Milliseconds of the bodies beside Hugging Face's PyTorch models, in one run.

    python benchmarks/bodies.py                           # every body, three shapes
    python benchmarks/bodies.py --bodies bert gpt2 --shapes 256,20,64
    python benchmarks/bodies.py --markdown                # tables for the docs
    python benchmarks/bodies.py --threads 1               # steady on a busy machine

TensorFlow, JAX and PyTorch each run in a process of their own and take turns, one body
and one round after the other; the median round counts. All get the same events and the
same lengths (geometric, mean 6 at 20 positions, 60 at 200) and the same config (two
layers, four heads). Forward is without dropout, as in serving; forward + backward is
of the events and all weights, with dropout 0.1. PyTorch runs the attention that Hugging
Face picks by itself (SDPA where there is one). What Hugging Face has no model for
stands alone. With one thread each process keeps to one core and the figure is CPU time,
which other processes disturb least; with more it is wall time.
"""

import argparse
import multiprocessing
import os
import statistics
import time

SIDES = ("tensorflow", "jax", "hf")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bodies", nargs="+", help="default: all")
    parser.add_argument(
        "--shapes",
        nargs="+",
        default=["256,20,64", "256,20,192", "64,200,64"],
        help="batch,time,width",
    )
    parser.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--markdown", action="store_true")
    return parser.parse_args()


def events(batch, length, width):
    import numpy as np

    random = np.random.default_rng(0)
    lengths = np.minimum(1 + random.geometric(0.2 * 20 / length, batch), length)
    x = random.normal(size=(batch, length, width)).astype("float32")
    return x, np.arange(length) < lengths[:, None]


def make_config(kind, length, width, dropout):
    from keras_t4r.bodies import session_config

    options = {}
    if kind in ("longformer", "reformer"):
        # Hugging Face fills sequences up to whole windows, which need positions too.
        options["max_position_embeddings"] = 4 * length
    if kind == "reformer":
        # In training it takes whole chunks only.
        options |= {"local_attn_chunk_length": 10, "lsh_attn_chunk_length": 10}
    return session_config(kind, width, max_length=length, dropout=dropout, **options)


# Each of these returns two functions: forward, and forward + backward in training; and
# the number of parameters.


def of_tensorflow(config, x, mask):
    import tensorflow as tf

    from keras_t4r.bodies import make_body

    body = make_body(config)
    body.build(x.shape)
    x, mask = tf.constant(x), tf.constant(mask)
    values = [v.value for v in body.trainable_variables]

    @tf.function
    def forward():
        return body(x, mask=mask, training=False)

    @tf.function
    def both():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = body(x, mask=mask, training=True)
            loss = tf.reduce_mean(y * y)
        return tape.gradient(loss, [x, *values])

    return forward, both, body.count_params()


def of_jax(config, x, mask):
    import jax

    from keras_t4r.bodies import make_body

    body = make_body(config)
    body.build(x.shape)
    trainable = [v.value for v in body.trainable_variables]
    fixed = [v.value for v in body.non_trainable_variables]
    x, mask = jax.numpy.asarray(x), jax.numpy.asarray(mask)

    def run(trainable, x, training):
        y, _ = body.stateless_call(trainable, fixed, x, mask=mask, training=training)
        return y

    infer = jax.jit(lambda trainable, x: run(trainable, x, False))
    slope = jax.jit(
        jax.grad(lambda *given: (run(*given, True) ** 2).mean(), argnums=(0, 1))
    )

    def forward():
        return jax.block_until_ready(infer(trainable, x))

    def both():
        return jax.block_until_ready(slope(trainable, x))

    return forward, both, body.count_params()


def of_hf(config, x, mask):
    import torch
    import transformers

    if type(config).__module__.startswith("keras_t4r"):
        return None
    config.vocab_size = (config.pad_token_id or 0) + 1
    config.bos_token_id = config.eos_token_id = None
    config.use_cache = False
    model = transformers.AutoModel.from_config(config)
    x = torch.tensor(x, requires_grad=True)
    mask = torch.tensor(mask).float()

    def run():
        return model(inputs_embeds=x, attention_mask=mask)[0]

    def forward():
        model.eval()
        with torch.inference_mode():
            return run()

    def both():
        model.train()
        model.zero_grad(set_to_none=True)
        x.grad = None
        (run() ** 2).mean().backward()

    return forward, both, sum(p.numel() for p in model.parameters())


def work(pipe, side, threads):
    """One side, in its process: makes what it is told to and times it when asked."""
    clock = time.perf_counter
    if threads == 1:
        clock = time.process_time
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if side == "hf":
        import torch

        torch.set_num_threads(threads)
    elif side == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    make = {"tensorflow": of_tensorflow, "jax": of_jax, "hf": of_hf}[side]
    made = None
    while (message := pipe.recv()) is not None:
        if message == "time":
            pipe.send([milliseconds(f, clock) for f in made[:2]] if made else None)
            continue
        kind, shape, dropout = message
        config = make_config(kind, *shape[1:], dropout)
        made = make(config, *events(*shape))
        if made:
            # Compiles.
            [f() for f in made[:2]]
        pipe.send(made and made[2])


def milliseconds(function, clock, repeat=3):
    start = clock()
    for _ in range(repeat):
        function()
    return (clock() - start) / repeat * 1000


def start(side, threads):
    os.environ.update(
        KERAS_BACKEND="torch" if side == "hf" else side,
        TF_CPP_MIN_LOG_LEVEL="3",
        CUDA_VISIBLE_DEVICES="",
        OMP_NUM_THREADS=str(threads),
    )
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=work, args=(there, side, threads), daemon=True).start()
    return here


def measure(pipes, case, rounds):
    """`{side: (forward, both, parameters)}`; `None` where a side has no such model."""
    parameters, times = {}, {side: [] for side in pipes}
    for side, pipe in pipes.items():
        pipe.send(case)
        parameters[side] = pipe.recv()
    for _ in range(rounds):
        for side, pipe in pipes.items():
            pipe.send("time")
            times[side].append(pipe.recv())
    return {
        side: parameters[side]
        and (*map(statistics.median, zip(*times[side], strict=True)), parameters[side])
        for side in pipes
    }


def row(kind, found, markdown):
    """One body: parameters, then for forward and both each side and its ratio."""
    own = next(found[side] for side in ("tensorflow", "jax") if side in found)
    cells = [f"{own[2] / 1000:,.0f} k"]
    peer = found.get("hf")
    for i in (0, 1):
        for side in ("tensorflow", "jax"):
            if side in found:
                ratio = f" ({found[side][i] / peer[i]:.2f})" if peer else ""
                cells.append(f"{found[side][i]:.1f}{ratio}")
        if "hf" in found:
            cells.append(f"{peer[i]:.1f}" if peer else "-")
    if markdown:
        return f"| `{kind}` | " + " | ".join(cells) + " |"
    return f"{kind:12s}" + "".join(f"{cell:>15s}" for cell in cells)


def header(sides, markdown):
    names = {"tensorflow": "TF", "jax": "JAX", "hf": "HF PyTorch"}
    cells = ["parameters"]
    for what in ("forward", "f. + b."):
        cells += [f"{what} {names[s]}" for s in SIDES if s in sides]
    if markdown:
        line = "| body | " + " | ".join(cells) + " |"
        return f"{line}\n|---|" + "---:|" * len(cells)
    return f"{'':12s}" + "".join(f"{cell:>15s}" for cell in cells)


def main():
    args = arguments()
    pipes = {side: start(side, args.threads) for side in args.sides}
    if not args.bodies:
        from keras_t4r.bodies import BODIES

        args.bodies = list(BODIES)
    for shape in args.shapes:
        shape = tuple(int(n) for n in shape.split(","))
        print(
            f"\nbatch {shape[0]}, {shape[1]} positions, width {shape[2]}; ms (ratio)\n"
        )
        print(header(args.sides, args.markdown), flush=True)
        for kind in args.bodies:
            found = measure(pipes, (kind, shape, args.dropout), args.rounds)
            print(row(kind, found, args.markdown), flush=True)
    for pipe in pipes.values():
        pipe.send(None)


if __name__ == "__main__":
    main()
