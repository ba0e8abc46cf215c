import pytest

from keras_t4r.serving import triton_config


def parsed(config):
    """What Triton's own protocol buffers make of the text."""
    pytest.importorskip("tritonclient", reason="tritonclient is not installed")
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    text = triton_config.to_text(config)
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_a_python_model_is_what_triton_reads():
    config = triton_config.python_model(
        "a_nvt",
        [triton_config.tensor("item id", "string", (-1, 1))],
        [triton_config.tensor("x", "float32", (-1, -1))],
        workflow="some.module:Name",
    )
    proto = parsed(config)
    assert proto.name == "a_nvt"
    assert proto.backend == "python"
    assert proto.max_batch_size == 0
    assert proto.input[0].name == "item id"
    assert list(proto.input[0].dims) == [-1, 1]
    assert proto.parameters["workflow"].string_value == "some.module:Name"
    assert len(proto.instance_group) == 1


def test_names_with_quotes_and_accents_survive():
    name = 'prix "net" \\ é\n'
    proto = parsed(
        triton_config.saved_model("m", [triton_config.tensor(name, "int64", (-1,))], [])
    )
    assert proto.platform == "tensorflow_savedmodel"
    assert proto.input[0].name == name


@pytest.mark.parametrize("dtype", list(triton_config.TRITON_TYPES))
def test_every_type_is_one_of_tritons(dtype):
    from tritonclient.grpc import model_config_pb2

    config = triton_config.saved_model(
        "m", [triton_config.tensor("x", dtype, (-1, 5))], []
    )
    kind = parsed(config).input[0].data_type
    wanted = triton_config.TRITON_TYPES[dtype]
    assert model_config_pb2.DataType.Name(kind) == wanted


def test_an_ensemble_keeps_its_steps_in_order():
    proto = parsed(
        triton_config.ensemble(
            "e", [], [], [("first", {"a": "b"}, {"c": "d"}), ("second", {}, {})]
        )
    )
    steps = proto.ensemble_scheduling.step
    assert [step.model_name for step in steps] == ["first", "second"]
    assert dict(steps[0].input_map) == {"a": "b"}
    assert dict(steps[0].output_map) == {"c": "d"}
    assert steps[0].model_version == -1
