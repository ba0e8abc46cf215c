import json

import numpy as np
import pytest

from keras_t4r.retrieval import ExactIndex, ItemIndex, IVFIndex, load_index

FINGERPRINT = "3000-abc"


@pytest.fixture
def saved(kind, items, tmp_path):
    ids, vectors, _ = items
    index = kind(vocabulary=FINGERPRINT).build(ids, vectors)
    index.save(tmp_path / "index")
    return index, tmp_path / "index"


def test_what_is_saved_comes_back(saved, kind, items):
    index, path = saved
    ids, vectors, queries = items
    for loaded in (load_index(path), kind.load(path)):
        assert type(loaded) is kind and len(loaded) == len(index)
        assert loaded.get_config() == index.get_config()
        assert loaded.vocabulary == FINGERPRINT
        for one, other in zip(
            loaded.search(queries, 20), index.search(queries, 20), strict=True
        ):
            np.testing.assert_array_equal(one, other)
        best = index.search(queries, 50)[0]
        one, other = (x.log_rest(queries, best) for x in (loaded, index))
        np.testing.assert_allclose(one, other, rtol=1e-6)
        # And it can be updated.
        loaded.update(ids[:5], 20 * np.abs(vectors[:5]))
        assert len(loaded) == len(index)


def test_saving_twice_needs_leave(saved, items):
    index, path = saved
    with pytest.raises(FileExistsError, match="overwrite=True"):
        index.save(path)
    index.update([9000], items[1][:1]).save(path, overwrite=True)
    assert len(load_index(path)) == 3001


def test_a_folder_of_others_is_not_replaced(saved, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("…", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"holds no index\.json"):
        saved[0].save(home, overwrite=True)
    assert (home / "thesis.txt").exists()


def test_a_write_that_fails_leaves_nothing(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(np, "save", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saved[0].save(tmp_path / "other")
    assert [p.name for p in tmp_path.iterdir()] == ["index"]


def test_every_damaged_file_is_found(saved):
    _, path = saved
    for file in sorted(path.iterdir()):
        good = file.read_bytes()
        for bad in (
            good[: len(good) // 2],
            good[:-1] + bytes([good[-1] ^ 1]),
            b"",
            None,
        ):
            file.unlink() if bad is None else file.write_bytes(bad)
            if bad is None and file.name == "index.json":
                continue
            with pytest.raises(ValueError, match=r"damaged|missing") as caught:
                load_index(path)
            assert str(path) in str(caught.value)
        file.write_bytes(good)
    load_index(path)


def test_arrays_that_do_not_fit_are_refused(saved):
    _, path = saved
    about = json.loads((path / "index.json").read_text(encoding="utf-8"))
    about["sha256"].pop("ids")
    (path / "index.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ValueError, match="does not fit together"):
        load_index(path)


def test_lists_of_absurd_sizes_are_refused(faiss, items, tmp_path):
    """Their sum goes round, and is the number of items again."""
    from keras_t4r.files.digest import file_digest

    path = tmp_path / "index"
    IVFIndex(lists=8).build(*items[:2]).save(path)
    sizes = np.zeros(8, "int64")
    sizes[:5] = [2**62, 2**62, 2**62, 2**62, len(items[0])]
    np.save(path / "sizes.npy", sizes)
    about = json.loads((path / "index.json").read_text(encoding="utf-8"))
    about["sha256"]["sizes"] = file_digest(path / "sizes.npy")
    (path / "index.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ValueError, match="does not fit together"):
        load_index(path)


def test_nothing_is_unpickled(saved, items):
    from keras_t4r.files.digest import file_digest

    _, path = saved
    np.save(path / "ids.npy", np.array([print], object), allow_pickle=True)
    about = json.loads((path / "index.json").read_text(encoding="utf-8"))
    about["sha256"]["ids"] = file_digest(path / "ids.npy")
    (path / "index.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(ValueError, match="is missing or damaged"):
        load_index(path)


def test_where_there_is_no_index(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no index at"):
        load_index(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no index at"):
        ExactIndex.load(tmp_path / "none")


def test_an_index_of_another_kind_is_refused(saved, kind, faiss):
    other = IVFIndex if kind is ExactIndex else ExactIndex
    with pytest.raises(ValueError, match=f"of kind {kind.__name__}, not"):
        other.load(saved[1])
    assert issubclass(kind, ItemIndex)
