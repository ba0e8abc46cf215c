"""Milliseconds of the bodies beside Hugging Face's PyTorch models, in one process.

    python benchmarks/bodies.py                      # all threads
    taskset -c 0 python benchmarks/bodies.py --threads 1    # steady on a busy machine

Both sides get the same events and the same lengths (geometric, mean 6). Rounds
alternate between them, and the median round counts. With one thread the figure is
CPU time, which other processes disturb least; with more it is wall time. PyTorch
runs the attention that Hugging Face picks by itself (SDPA where there is one).
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--time", type=int, default=20)
    parser.add_argument("--width", type=int, nargs="+", default=[64, 192])
    parser.add_argument("--inner", type=int, default=None, help="default: 4 · width")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--bodies", nargs="+", default=["xlnet", "gpt2", "bert"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-peer", action="store_true", help="only our bodies")
    return parser.parse_args()


def make_config(kind, width, inner, args, dropout):
    import transformers

    if kind == "xlnet":
        return transformers.XLNetConfig(
            d_model=width,
            n_head=args.heads,
            n_layer=args.layers,
            d_inner=inner,
            dropout=dropout,
            vocab_size=9,
        )
    if kind == "gpt2":
        return transformers.GPT2Config(
            n_embd=width,
            n_head=args.heads,
            n_layer=args.layers,
            n_inner=inner,
            n_positions=args.time,
            attn_pdrop=dropout,
            embd_pdrop=dropout,
            resid_pdrop=dropout,
            vocab_size=9,
            bos_token_id=None,
            eos_token_id=None,
            use_cache=False,
        )
    return transformers.BertConfig(
        hidden_size=width,
        num_attention_heads=args.heads,
        num_hidden_layers=args.layers,
        intermediate_size=inner,
        max_position_embeddings=args.time,
        attention_probs_dropout_prob=dropout,
        hidden_dropout_prob=dropout,
        vocab_size=9,
    )


def ours(config, x, mask):
    """Two functions: forward, and forward + backward in training."""
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

    return forward, both


def peers(config, x, mask):
    """The same of Hugging Face's model."""
    import torch
    import transformers

    name = {"xlnet": "XLNetModel", "gpt2": "GPT2Model", "bert": "BertModel"}
    model = getattr(transformers, name[config.model_type])(config)
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

    return forward, both


def measure(functions, rounds, clock):
    """Median milliseconds of each function, the functions taking turns."""
    spent = [[] for _ in functions]
    for function in functions:
        function()
        function()
    for _ in range(rounds):
        for function, times in zip(functions, spent, strict=True):
            start = clock()
            for _ in range(3):
                function()
            times.append((clock() - start) / 3 * 1000)
    return [statistics.median(times) for times in spent]


def main():
    args = arguments()
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    if not args.no_peer:
        import torch

        torch.set_num_threads(args.threads)

    clock = time.process_time if args.threads == 1 else time.perf_counter
    random = np.random.default_rng(0)
    length = np.minimum(1 + random.geometric(1 / 5, args.batch), args.time)
    mask = np.arange(args.time) < length[:, None]
    print(f"({args.batch}, {args.time}), {args.layers} layers, {args.heads} heads")
    print("                            forward, ms           forward + backward, ms")
    print("body    d  dropout     ours      HF  ours/HF     ours      HF  ours/HF")
    for width in args.width:
        x = random.normal(size=(args.batch, args.time, width)).astype("float32")
        for kind in args.bodies:
            for dropout in args.dropout:
                inner = args.inner or 4 * width
                config = make_config(kind, width, inner, args, dropout)
                functions = [*ours(config, x, mask)]
                if not args.no_peer:
                    functions += peers(config, x, mask)
                times = measure(functions, args.rounds, clock)
                us, them = times[:2], times[2:] or [float("nan")] * 2
                columns = "".join(
                    f" {u:8.2f} {t:7.2f} {u / t:8.2f}"
                    for u, t in zip(us, them, strict=True)
                )
                print(f"{kind:6s} {width:3d} {dropout:7.1f} {columns}", flush=True)


if __name__ == "__main__":
    main()
