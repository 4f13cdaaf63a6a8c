"""Models with an approximate index: what they recommend, when the index goes, and files."""

from __future__ import annotations

import copy
import importlib
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import likewise as lw
from likewise._files import read_model_file, write_model_file
from likewise.models._ratings import RatingVectorRecommender
from likewise.models.base import Recommender, VectorRecommender
from likewise.retrieval import ApproximateIndex, _hnsw, approximate

MODELS = {
    "als": lw.ImplicitALS(factors=16, iterations=3, random_state=0, n_jobs=1),
    "bpr": lw.BPR(factors=16, iterations=30, random_state=0, n_jobs=1),
    "sgd-mf": lw.SGDMatrixFactorization(factors=16, iterations=30, random_state=0, n_jobs=1),
    "pure-svd": lw.PureSVD(factors=16, random_state=0, n_jobs=1),
}
N_USERS, N_ITEMS, EMPTY_USER, EMPTY_ITEM = 300, 1500, 4, 7

try:
    _hnsw.graph_class(None, "tests")
except ImportError as missing:
    pytest.skip(str(missing), allow_module_level=True)


def test_every_model_of_vectors_is_tested():
    of_vectors = {cls for cls in VectorRecommender.__subclasses__() if cls.__module__.startswith("likewise.")}
    for cls in of_vectors - {lw.Popularity, RatingVectorRecommender}:
        assert any(isinstance(model, cls) for model in MODELS.values()), cls


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return clone(request.param)


@pytest.fixture(scope="module")
def data():
    """String ids; a user and an item have no interactions."""
    rng = np.random.default_rng(3)
    users, items = rng.integers(0, N_USERS, 12_000), rng.zipf(1.3, 12_000) % N_ITEMS
    kept = (users != EMPTY_USER) & (items != EMPTY_ITEM)
    names = [np.array([f"{side}{i}" for i in range(n)], object) for side, n in (("u", N_USERS), ("i", N_ITEMS))]
    return lw.Interactions.from_arrays(
        names[0][users[kept]], names[1][items[kept]], user_ids=names[0], item_ids=names[1]
    )


@pytest.fixture
def asked(monkeypatch):
    """The arguments of each search of an index; the graph serves it if there are more than a few candidates."""
    monkeypatch.setattr(approximate, "_VECTORS_A_PROPOSAL", 8)
    searches, search = [], ApproximateIndex.search

    def watched(self, *arguments, **options):
        searches.append(arguments)
        return search(self, *arguments, **options)

    monkeypatch.setattr(ApproximateIndex, "search", watched)
    return searches


@pytest.fixture
def indexed(model, data):
    return model.fit(data).build_index()


def test_popularity_says_why_it_takes_none():
    with pytest.raises(
        NotImplementedError, match=r"^Popularity: needs no index, it ranks the items alike for everybody"
    ):
        lw.Popularity().fit(np.eye(3)).build_index(m=8)


def share_found(found, best):
    rows = zip(found.items, best.items, strict=True)
    return np.mean([np.isin(b[b != np.array(None)], a).mean() for a, b in rows if (b != np.array(None)).any()])


def test_build_index_gives_the_model_and_drop_index_takes_it_back(model, data):
    exact = model.fit(data).recommend(k=5)
    assert model.drop_index() is model
    assert model.build_index(m=8, ef_construction=30, ef_search=20) is model
    index = model.index_
    width = 16 + hasattr(model, "item_biases_")  # which stand in a column of their own
    assert (index.shape, index.metric, index.n_jobs) == ((N_ITEMS, width), "inner_product", 1)
    assert (index.m, index.ef_construction, index.ef_search) == (8, 30, 20)
    assert np.shares_memory(index.vectors, model.item_factors_) == (width == 16)
    assert_array_equal(index.vectors[:, :16], model.item_factors_)
    assert model.build_index().index_ is not index
    assert not hasattr(model.drop_index(), "index_")
    assert_array_equal(model.recommend(k=5).items, exact.items)


@pytest.mark.parametrize("library", _hnsw.GRAPHS)
def test_build_index_takes_the_library_that_is_asked_for(model, data, library):
    pytest.importorskip(library, reason=f"{library} is not installed")
    assert model.fit(data).build_index(library=library).index_.library == library


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exclude_seen": False},
        {"exclude": ["i1", "i2", "i3"]},
        {"items": [f"i{i}" for i in range(0, N_ITEMS, 2)]},
        {"items": ["i3", "i7", "i900"]},
        {"users": ["u5", "u4", "u5"]},
        {"users": ["u5", "u6"], "k": 2000},
    ],
    ids=["all", "seen too", "exclude", "half", "few", "users", "k > n"],
)
@pytest.mark.parametrize("fold_in", [False, True])
def test_recommend_honours_every_mask_with_an_index(indexed, data, asked, options, fold_in):
    options = {"k": 10, **options, **({"interactions": data} if fold_in else {})}
    found = indexed.recommend(**options)
    assert len(asked) == 1
    best = clone(indexed).fit(data).recommend(**options)
    assert_array_equal(found.items == np.array(None), best.items == np.array(None))
    assert_array_equal(found.users, best.users)
    # The graphs find less where biases outweigh what items have in common with a user.
    assert share_found(found, best) > (0.8 if hasattr(indexed, "item_biases_") else 0.95)
    same = found.items == best.items
    np.testing.assert_allclose(found.scores[same], best.scores[same], rtol=1e-5)
    rows = dict(zip(data.user_ids, range(N_USERS), strict=True))
    seen = [set(data.item_ids[data.by_user.row(rows[user])[0]]) for user in found.users]
    allowed = set(options.get("items", [f"i{i}" for i in range(N_ITEMS) if i != EMPTY_ITEM])) | {None}
    for user, items, own in zip(found.users, found.items, seen, strict=True):
        got = set(items.tolist())
        assert got <= allowed - set(options.get("exclude", []))
        assert not got & own or not options.get("exclude_seen", True)
        assert user != f"u{EMPTY_USER}" or got == {None} or isinstance(indexed, RatingVectorRecommender)


def test_one_user_is_recommended_to_by_the_index(indexed, asked):
    recommended = indexed.recommend("u5", k=3)
    assert recommended.items.shape == (3,)
    assert len(asked) == 1


def test_what_measures_or_explains_stays_exact(indexed, data, asked):
    plain = clone(indexed).fit(data)
    assert indexed.score(data) == plain.score(data)
    one, other = (dict(lw.evaluate(model, data, data, "ndcg@5", exclude_seen=False)) for model in (indexed, plain))
    assert one == other
    assert_array_equal(indexed.predict(data), plain.predict(data))
    assert_array_equal(indexed.similar_items("i3").items, plain.similar_items("i3").items)
    assert asked == []


@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_learning_drops_the_index(indexed, data, learn):
    getattr(indexed, learn)(data)
    assert not hasattr(indexed, "index_")


def test_a_fit_that_fails_keeps_the_index(indexed, data):
    index = indexed.index_
    for learn in (indexed.fit, indexed.partial_fit):
        with pytest.raises(ValueError):
            learn(np.full((2, 2), np.nan))
        assert indexed.index_ is index


def _needs_callbacks(model):
    if "callbacks" not in model.get_params():
        pytest.skip("this model shows nobody its vectors before they are done")


def test_an_interrupted_fit_that_is_kept_drops_the_index(indexed, data):
    _needs_callbacks(indexed)

    def interrupt(model, iteration, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        indexed.set_params(callbacks=interrupt).fit(data)
    assert not hasattr(indexed, "index_")
    indexed.build_index()


def test_no_index_is_built_of_vectors_that_still_change(model, data):
    _needs_callbacks(model)
    with pytest.raises(RuntimeError, match=r"^build_index: the vectors will change until fit has returned"):
        model.set_params(callbacks=lambda model, iteration, loss: model.build_index()).fit(data)
    with pytest.raises(NotFittedError):
        model.build_index()
    model.set_params(callbacks=None).fit(data).build_index()


def test_an_index_that_has_grown_apart_from_its_model_is_refused(indexed, tmp_path):
    indexed.index_.add(np.ones((1, indexed.index_.shape[1])))
    for use in (indexed.recommend, lambda: indexed.save(tmp_path / "model")):
        with pytest.raises(ValueError, match=r"index_ must have a vector for each of the 1500 items, got 1501; build_"):
            use()
    indexed.build_index().recommend(k=2)


def test_clone_leaves_the_index_behind(indexed):
    assert not hasattr(clone(indexed), "index_")


@pytest.mark.parametrize("duplicate", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy, copy.copy])
def test_a_copy_of_a_model_has_its_index(indexed, duplicate, asked):
    copied = duplicate(indexed)
    assert_array_equal(copied.recommend(k=5).items, indexed.recommend(k=5).items)
    assert len(asked) == 2


def test_the_index_is_saved_with_the_model(indexed, tmp_path, asked):
    indexed.build_index(m=8, ef_construction=40, ef_search=70).save(tmp_path / "model")
    loaded = lw.load(tmp_path / "model")
    assert repr(loaded.index_) == repr(indexed.index_)
    assert (loaded.index_.m, loaded.index_.ef_search) == (8, 70)
    assert np.shares_memory(loaded.index_.vectors, loaded.item_factors_) or hasattr(loaded, "item_biases_")
    assert_array_equal(loaded.recommend(k=5).items, indexed.recommend(k=5).items)
    assert len(asked) == 2
    _, arrays = read_model_file(tmp_path / "model")
    assert [name for name in arrays if name.startswith("index.")] == ["index.graph"]  # the vectors are the model's
    indexed.drop_index().save(tmp_path / "model")
    assert not hasattr(lw.load(tmp_path / "model"), "index_")


def test_a_model_is_loaded_without_its_index_where_the_library_is_missing(indexed, data, tmp_path, monkeypatch):
    indexed.save(tmp_path / "model")
    library, real = indexed.index_.library, importlib.import_module

    def refuse(name, *arguments):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(_hnsw.importlib, "import_module", refuse)
    expected = (
        f"load: the model comes without its index and is exact .*{library} is not installed; pip install {library}"
    )
    with pytest.warns(UserWarning, match=expected) as warned:
        loaded = lw.load(tmp_path / "model")
    assert warned[0].filename == __file__
    assert not hasattr(loaded, "index_")
    assert_array_equal(loaded.recommend(k=5).items, indexed.drop_index().recommend(k=5).items)


def test_load_refuses_a_model_with_a_damaged_index(indexed, tmp_path):
    path = tmp_path / "model"
    indexed.save(path)
    content = path.read_bytes()
    place = content.index(read_model_file(path)[1]["index.graph"].tobytes()[:200]) + 150
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(lw.ModelFileError, match="its checksum is not that of its content"):
        lw.load(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda header, arrays: header["index"].update(metric="taxicab"),
        lambda header, arrays: header.update(index=[1]),
        lambda header, arrays: arrays.update({"index.graph": arrays["index.graph"][:40]}),
        lambda header, arrays: header.update({"class": "Popularity"}),
    ],
    ids=["metric", "list", "truncated graph", "another class"],
)
def test_load_refuses_a_model_with_an_index_that_does_not_fit(indexed, tmp_path, change):
    path = tmp_path / "model"
    indexed.save(path)
    header, arrays = read_model_file(path)
    header.pop("format_version")
    change(header, arrays)
    write_model_file(path, header, arrays)
    with pytest.raises(lw.ModelFileError, match=r"^load: "):
        lw.load(path)


def test_a_model_without_vectors_takes_no_index_from_a_file():
    with pytest.raises(ValueError, match="a model without vectors has no index"):
        Recommender._set_index_state(lw.Popularity(), {}, {})
