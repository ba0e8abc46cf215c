"""The models of the promises' cases, and helpers for other tests."""

from types import SimpleNamespace

import keras
import pytest
import session_models as sessions_of
from kept_graphs import forget_graphs
from session_cases import OF_BACKEND, SORTS, Case


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        own = OF_BACKEND[keras.backend.backend()]
        if keras.backend.backend() == "torch":
            # What JAX leaves to it of its own cases.
            own = own + OF_BACKEND["jax"]
        cases = [pytest.param(c, id=str(c), marks=pytest.mark.backends) for c in own]
        metafunc.parametrize("case", cases, scope="module")


@pytest.fixture(scope="module")
def made(case):
    """A model, and the state that it was made in."""
    model = sessions_of.seeded(case)
    yield model, sessions_of.state_of(model)
    forget_graphs()


@pytest.fixture(scope="module")
def model(made):
    return made[0]


@pytest.fixture(scope="module")
def training(case, made):
    """What training made of the model, which is as before it: `losses`, `after`."""
    model, before = made
    sessions_of.put_state(model, before)
    losses = sessions_of.train(case, model)
    after = sessions_of.state_of(model)
    sessions_of.put_state(model, before)
    return SimpleNamespace(losses=losses, after=after)


@pytest.fixture
def trained(made, training):
    """The model, trained for as long as the test lasts."""
    model, before = made
    sessions_of.put_state(model, training.after)
    yield model
    sessions_of.put_state(model, before)


@pytest.fixture
def one_of_a_sort(case):
    if case not in SORTS:
        pytest.skip("shown by other cases: see SORTS")


@pytest.fixture
def build():
    """Sessions and models of a plain case: build.model(…), build.sessions(…), …"""

    def model(scheme="mlm", body="xlnet", schema=None):
        return sessions_of.make_model(Case(body=body, scheme=scheme), schema)

    def sessions(count, seed=0, shortest=2):
        return sessions_of.random_sessions(Case(), count, seed, shortest)

    def batch(count=6, seed=0, shortest=2):
        return sessions_of.batch(Case(), count, seed, shortest)

    return SimpleNamespace(
        model=model,
        sessions=sessions,
        batch=batch,
        block=sessions_of.make_block,
        schema=sessions_of.schema_of(Case()),
        items=sessions_of.ITEMS,
        width=sessions_of.WIDTH,
    )
