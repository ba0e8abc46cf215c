"""What the promises must not hang on: cases that differ in all of it.

`CASES` is a pairwise covering: any two values of two factors that go together stand
together in at least one case.
"""

import collections
import dataclasses
import itertools

import keras
from allpairspy import AllPairs
from body_kinds import KINDS
from body_kinds import SORTS as SORTS_OF_BODIES

# Events of the loader, where a case has it shorter than the schema.
SHORT = 5

# The bodies that every loss and encoder is shown on: of all schemes.
_SHOWN_ON = ("sasrec", "xlnet", "gru")

FACTORS = {
    "body": tuple(KINDS),
    "scheme": ("clm", "clm-last", "mlm", "plm", "plm-all", "rtd"),
    # Where the scores' table comes from.
    "table": ("tied", "own", "computed"),
    "loss": (
        *("full", "sampled", "users"),
        *("chunked", "bce", "gbce", "bpr", "top1", "sce"),
        *("popular", "mixed", "hardest"),
    ),
    # What columns are made to vectors by: tables, or encoders of their own.
    "features": ("plain", "soft", "pretrained", "content", "gated"),
    # Where what is known of the session as a whole goes in.
    "context": ("features", "latent-cross", "token"),
    # What is between the model and its layers.
    "nesting": ("flat", "nested", "between"),
    "outputs": ("one", "category", "bought"),
    "step": ("none", "no-repeat", "memory"),
    "schema_length": (8, 12),
    "features_length": (None, SHORT + 1),
    "loader_length": (None, SHORT),
    # What `recommend` is asked with.
    "container": ("dict", "table", "polars"),
    "encoded": (False, True),
    "first_id": (2, 1),
    "vocabulary": ("text", "int", "none"),
    # Whether the loader gives targets of another task.
    "targets": (False, True),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One value of each of the `FACTORS`."""

    body: str = "xlnet"
    scheme: str = "mlm"
    table: str = "tied"
    loss: str = "full"
    features: str = "plain"
    context: str = "features"
    nesting: str = "flat"
    outputs: str = "one"
    step: str = "none"
    schema_length: int = 8
    features_length: int | None = None
    loader_length: int | None = None
    container: str = "dict"
    encoded: bool = False
    first_id: int = 2
    vocabulary: str = "none"
    targets: bool = False

    def __str__(self):
        lengths = (self.schema_length, self.features_length, self.loader_length)
        return "-".join(
            (
                f"{self.body}-{self.scheme}-{self.table}-{self.loss}-{self.nesting}",
                f"{self.features}_features-context_in_{self.context}",
                f"{self.outputs}-{self.step}",
                "of".join("all" if n is None else str(n) for n in reversed(lengths)),
                f"{'encoded' if self.encoded else 'raw'}_{self.container}",
                f"{self.vocabulary}_from_{self.first_id}",
                "targets" if self.targets else "no_targets",
            )
        )

    @property
    def causal(self):
        return self.scheme.startswith("clm")

    @property
    def history(self):
        """Events that the model answers from; the one that comes next is not here."""
        return (self.features_length or self.schema_length) - 1

    @property
    def output(self):
        """Name of the output of items, which the logs have where there are more."""
        return None if self.outputs == "one" else "item"


def schemes_of(body):
    """The schemes that go with a body, by its directions and its streams."""
    if True in KINDS[body].directions:
        yield "clm"
    # Which targets count is nothing that a body sees: one of each sort shows it.
    if body in ("gpt2", "llama", "gru", "hstu"):
        yield "clm-last"
    if False in KINDS[body].directions:
        yield from ("mlm", "rtd")
    if body == "xlnet":
        yield from ("plm", "plm-all")


def go_together(case):
    """Whether a case may have these values; `case` is a dict of some factors."""
    body, scheme = case.get("body"), case.get("scheme")
    if body and scheme and scheme not in schemes_of(body):
        return False
    # Its features and body are called outside of the nested model too, and what is made
    # from a config then has two of them: Keras saves a layer with each of its models.
    if scheme == "rtd" and case.get("nesting") == "nested":
        return False
    # Which loss it is is nothing that a body sees either, nor what made its vectors.
    more = case.get("loss") in FACTORS["loss"][3:]
    more = more or case.get("features", "plain") != "plain"
    if more and body not in (None, *_SHOWN_ON):
        return False
    # A loader that gives more events than the model reads is refused.
    if case.get("features_length") and case.get("loader_length", SHORT) is None:
        return False
    # That head is trained on a target that the loader gives.
    return case.get("outputs") != "bought" or case.get("targets", True)


def pairs_of(case):
    """Every two of a dict's items."""
    return set(itertools.combinations(case.items(), 2))


def valid_pairs():
    """Every two values that go together, in the order of the factors."""
    values = [[(name, v) for v in of_name] for name, of_name in FACTORS.items()]
    pairs = itertools.combinations(values, 2)
    both = itertools.chain.from_iterable(itertools.starmap(itertools.product, pairs))
    return [pair for pair in both if go_together(dict(pair))]


def _cover():
    def fits(values):
        return go_together(dict(zip(FACTORS, values, strict=False)))

    found = [
        dict(zip(FACTORS, values, strict=True))
        for values in AllPairs(list(FACTORS.values()), fits)
    ]
    # The package ends at the first row that it finds nothing new for.
    missing = set(valid_pairs()).difference(*map(pairs_of, found))
    while missing:
        found.append(_complete(dict(min(missing, key=repr)), missing, found))
        missing -= pairs_of(found[-1])
    return [Case(**values) for values in found]


def _complete(case, missing, found):
    """A case with these values; each other one is that which is missing most in pairs,
    then the one that fewest cases have."""
    for name, values in FACTORS.items():
        if name not in case:
            choices = [_in_order({**case, name: value}) for value in values]
            case = max(
                filter(go_together, choices),
                key=lambda choice: (
                    len(missing & pairs_of(choice)),
                    -sum(other[name] == choice[name] for other in found),
                ),
            )
    return _in_order(case)


def _in_order(case):
    return {name: case[name] for name in FACTORS if name in case}


CASES = _cover()


def _choose(wanted, cases, factors=tuple(FACTORS)[1:]):
    """A case of each of these, dicts of what it has to be, and every value of some
    factors, which are all but the body."""
    chosen, seen = [], set()

    def values(case):
        return {(name, getattr(case, name)) for name in factors}

    def gain(case):
        # Of equals not the one with a rare value, for others need it too.
        return len(values(case) - seen), min(count[value] for value in values(case))

    count = collections.Counter(value for case in cases for value in values(case))
    for what in wanted:
        fitting = [c for c in cases if all(getattr(c, k) == what[k] for k in what)]
        chosen.append(max(fitting, key=gain))
        seen |= values(chosen[-1])
    everything = set().union(*map(values, cases))
    while seen < everything:
        chosen.append(max(cases, key=gain))
        seen |= values(chosen[-1])
    return chosen


# The backend is a factor too: each case runs on one. All three see every value of what
# is no body. The quickest, PyTorch, sees all bodies; on TensorFlow one of each sort has
# a case, and the tests of bodies show them all.
def _left(taken):
    return [case for case in CASES if case not in taken]


_SORTS = [{"body": body} for body in SORTS_OF_BODIES]
_KEPT = {case.body: case for case in CASES}  # one of each body for PyTorch
_FREE = [case for case in CASES if case is not _KEPT[case.body]]
_TENSORFLOW = _choose(_SORTS, _FREE)
_JAX = _choose([], [case for case in _FREE if case not in _TENSORFLOW])
OF_BACKEND = {
    "tensorflow": _TENSORFLOW,
    "jax": _JAX,
    "torch": _left(_TENSORFLOW + _JAX),
}
# For what has little to do with the body, as that a seed tells all. On TensorFlow,
# which traces anew for it, the tests of losses show that of what they draw.
_OWN = OF_BACKEND[keras.backend.backend()]
_BODIES = {case.body for case in _OWN}
if keras.backend.backend() == "tensorflow":
    SORTS = _choose([], _OWN, ("scheme", "features", "context"))
else:
    SORTS = _choose([sort for sort in _SORTS if sort["body"] in _BODIES], _OWN)
