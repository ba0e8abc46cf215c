"""Short forms give configs whose fields follow from few arguments."""

import pytest
from body_kinds import KINDS

from keras_t4r.bodies import BODIES, make_body, session_config


def test_every_body_has_an_entry_in_the_tests():
    assert set(KINDS) == set(BODIES)


def test_sizes_reach_the_body(kind):
    body = make_body(session_config(kind, d_model=24, n_head=3, n_layer=1))
    body.build((None, None, body.d_input))
    heads = 3 if KINDS[kind].heads else 1
    width = 24 * KINDS[kind].widening
    assert (body.d_model, body.n_head, body.n_layer) == (width, heads, 1)
    assert body.compute_output_shape((2, 5, body.d_input))[:2] == (2, 5)


def test_there_is_room_for_the_event_to_predict(kind):
    body = make_body(session_config(kind, max_length=7))
    assert body.max_length is None or body.max_length >= 8


def test_parameters_are_those_of_a_width_of_sessions(kind):
    # Three quarters to twice 12 d² a block: no default for text slipped through.
    body = make_body(session_config(kind, d_model=64, n_layer=2, max_length=20))
    body.build((None, None, body.d_input))
    assert 0.3 * 24 * 64**2 < body.count_params() < 2 * 24 * 64**2


def test_options_go_by_the_configs_own_names():
    config = session_config("bert", hidden_act="relu", intermediate_size=10)
    assert (config.hidden_act, config.intermediate_size) == ("relu", 10)


def test_a_slip_in_a_name_is_refused():
    with pytest.raises(ValueError, match="BertConfig has no field 'd_inner'"):
        session_config("bert", d_inner=10)
    with pytest.raises(ValueError, match=r"no architecture 'brt': use one of .*bert"):
        session_config("brt")
