"""Texts become vectors once, by any encoder, and lie in a file by raw id."""

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

import keras_t4r as t4r

TEXTS = {
    "coat": "a red coat",
    "scarf": "a blue scarf, of wool",
    "other coat": "a red coat",
    "nothing": None,
    "blank": "  ",
}


def lengths(texts):
    return [[len(text), text.count("a")] for text in texts]


def test_vectors_lie_by_raw_id_in_one_file(tmp_path):
    table = t4r.write_text_vectors(tmp_path / "v.parquet", TEXTS, lengths)
    read = pq.read_table(tmp_path / "v.parquet")
    assert read.equals(table)
    assert read.to_pydict() == {
        "id": ["coat", "scarf", "other coat"],
        "vector": [[10.0, 2.0], [21.0, 2.0], [10.0, 2.0]],
    }
    assert list(tmp_path.iterdir()) == [tmp_path / "v.parquet"]


def test_each_text_is_encoded_once_among_those_of_its_length(tmp_path):
    calls = []

    def encode(texts):
        calls.append(texts)
        return np.ones((len(texts), 2))

    texts = {n: "x" * (n % 5 + 1) + "yz"[n % 2] for n in range(40)}
    t4r.write_text_vectors(tmp_path / "v.parquet", texts, encode, batch_size=4)
    seen = [text for call in calls for text in call]
    assert sorted(seen) == sorted(set(texts.values()))
    assert [len(text) for text in seen] == sorted(map(len, seen))
    assert [len(call) for call in calls] == [4, 4, 2]


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="it is the same on all"
)
def test_a_text_model_of_hugging_face_is_such_an_encoder(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16, initializer_range=1.0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.BertModel(config).eval()
    words = {
        word: n + 1 for n, word in enumerate("a blue coat of red scarf wool".split())
    }

    def encode(texts):
        rows = [[words[w] for w in t.replace(",", "").split()] for t in texts]
        most = max(map(len, rows))
        ids = torch.tensor([row + [0] * (most - len(row)) for row in rows])
        return model(input_ids=ids, attention_mask=(ids != 0).long()).pooler_output

    texts = {7: "a red coat", 9: "a blue scarf, of wool", 11: "a red coat"}
    read = t4r.write_text_vectors(tmp_path / "v.parquet", texts, encode).to_pydict()
    alone = {t: encode([t]).detach().numpy()[0] for t in texts.values()}
    assert read["id"] == [7, 9, 11]
    for raw, vector in zip(read["id"], read["vector"], strict=True):
        np.testing.assert_allclose(vector, alone[texts[raw]], atol=1e-5)
    assert np.abs(np.subtract(read["vector"][0], read["vector"][1])).max() > 1e-3


@pytest.mark.parametrize(
    ("texts", "encode", "wanted"),
    [
        ({"a": 5}, lengths, "text of id 'a' is 5"),
        ({"a": "x", 1: "y"}, lengths, "all whole numbers or all text"),
        ({True: "x"}, lengths, "all whole numbers or all text"),
        ({"a": None}, lengths, "nothing to encode"),
        ({"a": "x"}, lambda t: [1.0], "a vector for each"),
        ({"a": "x", "b": "y"}, lambda t: [[1.0]], "a vector for each"),
        ({"a": "x"}, lambda t: [["z"]], "should give numbers"),
        ({"a": "x"}, lambda t: [[np.nan]], "for the text 'x'"),
        ({"a": "x", "b": "y"}, lambda t: [[1.0], [1.0, 2.0]], "rows of one length"),
        ({2**63: "x", 1: "y"}, lengths, "Id 9223372036854775808 is beyond int64"),
        ({"a\ud800": "x"}, lengths, "holds half a character"),
        ([(1, "x")], lengths, "texts are of type list"),
        ({"a": "x"}, None, "encode is None"),
    ],
)
def test_what_makes_no_vectors_is_refused_and_nothing_written(
    tmp_path, texts, encode, wanted
):
    with pytest.raises((TypeError, ValueError), match=wanted):
        t4r.write_text_vectors(tmp_path / "v.parquet", texts, encode)
    assert not list(tmp_path.iterdir())
