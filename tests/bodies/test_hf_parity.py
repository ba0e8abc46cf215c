"""Each body computes what Hugging Face's PyTorch model computes."""

import numpy as np
import pytest
from body_kinds import KINDS, small_config

from keras_t4r.bodies import load_hf_weights, make_body

torch = pytest.importorskip(
    "torch", reason="PyTorch, the reference of the bodies, is not installed"
)
from hf_gradients import assert_gradients_of_hugging_face  # noqa: E402


class Reference:
    """Hugging Face's model in evaluation, all of its parameters random."""

    def __init__(self, kind, config, causal):
        import transformers

        facts = KINDS[kind]
        config = type(config)(**config.to_dict())
        config._attn_implementation = "eager"
        config.use_cache = False
        # Its token embeddings are not called upon.
        config.vocab_size = (config.pad_token_id or 0) + 1
        config.bos_token_id = config.eos_token_id = None
        facts.turn(config, causal)
        torch.manual_seed(5)
        self.model = getattr(transformers, facts.reference)(config).eval()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        uni = kind == "xlnet" and config.attn_type == "uni"
        self.one_by_one = uni
        self.pairwise = facts.pairwise and bool(causal)
        self.permutation = kind == "xlnet" and bool(causal)

    def weights(self):
        return {k: v.numpy() for k, v in self.model.state_dict().items()}

    def __call__(self, x, mask):
        if self.one_by_one:
            rows = [self._run(x[i : i + 1], mask[i : i + 1]) for i in range(len(x))]
            return torch.cat(rows)
        return self._run(x, mask)

    def _run(self, x, mask):
        more = {}
        if self.permutation:
            time = x.shape[1]
            later = torch.ones(time, time).triu(1).expand(len(x), time, time)
            more = {"perm_mask": later}
        mask = torch.tensor(mask)
        if self.pairwise:
            sees = torch.ones(mask.shape[1], mask.shape[1]).tril().bool()
            mask = (sees & mask[:, None]).unsqueeze(1)
            # A mask of pairs is added to the scores as it is.
            mask = torch.where(mask, 0.0, -1e30)
        mask = mask.float()
        return self.model(inputs_embeds=x, attention_mask=mask, **more)[0]


@pytest.fixture
def pair(variant):
    kind, options, causal = variant
    config = small_config(kind, **options)
    reference = Reference(kind, config, causal)
    body = make_body(config, causal=causal)
    body.build((None, None, body.d_input))
    load_hf_weights(body, reference.weights())
    return body, reference


def events(width, batch, time):
    random = np.random.default_rng(time)
    x = random.normal(size=(batch, time, width)).astype("float32")
    mask = random.random((batch, time)) > 0.3
    mask[:, 0] = True
    return x, mask


@pytest.mark.parametrize("time", [1, 2, 7, 20])
def test_hidden_states_are_those_of_hugging_face(pair, apply, time):
    body, reference = pair
    x, mask = events(body.d_input, 4, time)
    with torch.no_grad():
        expected = reference(torch.tensor(x), mask).numpy()
    y = apply(body, x, mask)
    np.testing.assert_allclose(y[mask], expected[mask], rtol=0, atol=1e-5)
    # The comparison means something: positions and rows differ.
    assert expected[mask].std(axis=0).mean() > 0.3


def test_gradients_are_those_of_hugging_face(pair, gradients):
    body, reference = pair
    assert_gradients_of_hugging_face(
        body, reference, *events(body.d_input, 4, 9), gradients
    )
