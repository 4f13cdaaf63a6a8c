"""What is particular to `ImplicitALS`: its objective, its way there, and what it makes of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

import likewise as lw
import reference
from likewise.data import CSR
from likewise.models.base import hide_items
from reference import AlsObjective

SOLVERS = ["cholesky", "cg", "ials++"]
OBJECTIVES = {
    "hu": AlsObjective(alpha=2, regularization=0.1),
    "rendle": AlsObjective(alpha=0.1, unobserved_weight=0.1, regularization=0.02, regularization_exponent=0.75),
    "heavy": AlsObjective(alpha=30, unobserved_weight=0.5, regularization=3, regularization_exponent=0.25),
}
solvers = pytest.mark.parametrize("solver", SOLVERS)
objectives = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


@pytest.fixture(scope="module")
def data():
    """Counts and some dislikes; one user and one item have nothing."""
    rng = np.random.default_rng(11)
    counts = rng.integers(1, 6, (60, 45)) * (rng.random((60, 45)) < 0.25) * rng.choice([1, 1, 1, -1], (60, 45))
    counts[5] = 0
    counts[:, 8] = 0
    return CSR.from_scipy(sp.csr_array(counts.astype(np.float32)))


@pytest.fixture(scope="module")
def likes():
    return CSR.from_scipy(sp.csr_array((np.random.default_rng(12).random((80, 50)) < 0.2).astype(np.float32)))


def _model(objective=OBJECTIVES["hu"], **options):
    return lw.ImplicitALS(**{"factors": 12, "iterations": 5, "random_state": 0, **objective._asdict(), **options})


def _loss(model, matrix, objective):
    return reference.als_loss(matrix, model.user_factors_, model.item_factors_, objective)


def _assert_same_factors(one, other):
    assert_array_equal(one.user_factors_, other.user_factors_)
    assert_array_equal(one.item_factors_, other.item_factors_)


def _scores(model):
    return model.user_factors_.astype(np.float64) @ model.item_factors_.T.astype(np.float64)


# ---- the objective -------------------------------------------------------------------------------------------------


@solvers
@objectives
def test_loss_history_is_the_loss_of_the_docstring(data, solver, objective):
    model = _model(objective, solver=solver, compute_loss=True).fit(data)
    assert len(model.loss_history_) == model.n_iter_ == 5
    assert model.loss_history_[-1] == pytest.approx(_loss(model, data, objective), rel=1e-5)


@objectives
def test_loss_never_rises_with_exact_solves(data, objective):
    losses = _model(objective, solver="cholesky", compute_loss=True, iterations=30).fit(data).loss_history_
    assert (np.diff(losses) <= 1e-6 * np.array(losses[:-1])).all()
    assert losses[-1] < 0.99 * losses[0]


@objectives
@pytest.mark.parametrize("solver", ["cg", "ials++"])
def test_every_solver_arrives_at_as_low_a_loss(data, solver, objective):
    options = {"iterations": 60, "block_size": 16, "factors": 20, "compute_loss": True}
    exact = _model(objective, solver="cholesky", **options).fit(data).loss_history_[-1]
    assert _model(objective, solver=solver, **options).fit(data).loss_history_[-1] < 1.02 * exact


@objectives
def test_the_last_half_sweep_solves_for_the_items(data, objective):
    model = _model(objective, solver="cholesky").fit(data)
    by_item = data.transpose()
    expected = reference.als_half_sweep(by_item, model.user_factors_, objective)
    assert_allclose(model.item_factors_, expected, atol=2e-4 * np.abs(expected).max())


def test_defaults_weigh_as_hu_koren_and_volinsky_do(likes):
    """Their equation 4, word for word: x = (Y'CY + lambda I)^-1 Y'C p with C of all items."""
    model = lw.ImplicitALS(factors=6, regularization=0.3, alpha=5.0, random_state=0).fit(likes)
    y, r = model.item_factors_.astype(np.float64), likes.to_scipy().toarray()[3].astype(np.float64)
    confidence, preference = np.diag(1 + 5.0 * r), (r > 0).astype(np.float64)
    expected = np.linalg.solve(y.T @ confidence @ y + 0.3 * np.eye(6), y.T @ confidence @ preference)
    assert_allclose(model.transform(r[np.newaxis])[0], expected, rtol=1e-4, atol=1e-5)


def _rendle_loss(matrix, x, y, alpha0, regularization, exponent):
    """Rendle et al. 2022, equations 4 to 6: squared errors of stored pairs, and alpha0 times those of all against 0."""
    n, m = matrix.shape
    scores = x @ y.T
    loss = ((1 - scores[matrix.row_numbers(), matrix.indices]) ** 2).sum() + alpha0 * (scores**2).sum()
    loss += regularization * ((matrix.row_counts() + alpha0 * m) ** exponent @ (x**2).sum(axis=1))
    return loss + regularization * ((matrix.column_counts() + alpha0 * n) ** exponent @ (y**2).sum(axis=1))


@pytest.mark.parametrize("alpha0", [0.01, 0.3, 2.0])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_rendles_convention_is_the_one_that_the_docstring_maps_to(likes, rng, alpha0, exponent):
    """With alpha = unobserved_weight = alpha0 and 1 + alpha0 times their penalty: their loss, scaled and shifted."""
    grown = 1 + alpha0
    ours = AlsObjective(alpha0, alpha0, 0.05 * grown, exponent)
    for _ in range(3):
        x, y = (rng.standard_normal((n, 4)) for n in likes.shape)
        theirs = _rendle_loss(likes, x, y, alpha0, 0.05, exponent)
        loss = reference.als_loss(likes, np.sqrt(grown) * x, np.sqrt(grown) * y, ours)
        assert loss == pytest.approx(grown**2 * theirs - likes.nnz * alpha0 * grown, rel=1e-9)


@pytest.mark.parametrize(("regularization", "exponent"), [(0.02, 0.0), (0.02, 1.0)])
def test_a_fit_minimizes_rendles_loss_after_the_mapping(likes, regularization, exponent):
    """At the fitted vectors, scaled back, their loss is flat."""
    alpha0 = 0.2
    model = _model(
        AlsObjective(alpha0, alpha0, regularization * (1 + alpha0), exponent),
        factors=3,
        iterations=300,
        solver="cholesky",
    ).fit(likes)
    x, y = (factors.astype(np.float64) / np.sqrt(1 + alpha0) for factors in (model.user_factors_, model.item_factors_))
    least = _rendle_loss(likes, x, y, alpha0, regularization, exponent)
    rng = np.random.default_rng(0)
    for _ in range(10):
        dx, dy = rng.standard_normal(x.shape), rng.standard_normal(y.shape)
        slope = (
            _rendle_loss(likes, x + 1e-4 * dx, y + 1e-4 * dy, alpha0, regularization, exponent)
            - _rendle_loss(likes, x - 1e-4 * dx, y - 1e-4 * dy, alpha0, regularization, exponent)
        ) / 2e-4
        assert abs(slope) < 1e-3 * least


# ---- the fit -------------------------------------------------------------------------------------------------------


@solvers
def test_items_stand_in_the_eigenbasis_of_their_gramian(data, solver):
    """Users without interactions are zero, and so are items."""
    model = _model(solver=solver).fit(data)
    gramian = reference.gramian(model.item_factors_)
    assert np.abs(gramian - np.diag(np.diag(gramian))).max() < 1e-5 * np.abs(gramian).max()
    assert not model.user_factors_[5].any()
    assert not model.item_factors_[8].any()
    assert model.user_factors_.dtype == model.item_factors_.dtype == np.float32


@solvers
def test_a_checkerboard_is_completed(solver):
    """Even users like even items; the item withheld from each is the first to be recommended to it."""
    users, items = np.indices((50, 50))
    board = (users % 2 == items % 2).astype(np.float32)
    np.fill_diagonal(board, 0)
    options = {"regularization": 0.1, "iterations": 15, "solver": solver, "random_state": 0}
    for factors in (2, 10):
        model = lw.ImplicitALS(factors=factors, **options).fit(board)
        assert_array_equal(model.recommend(k=1).items[:, 0], np.arange(50))
    similar = lw.ImplicitALS(factors=2, **options).fit(board).similar_items(np.arange(50), k=24).items
    assert_array_equal(similar % 2, np.broadcast_to(np.arange(50)[:, None] % 2, similar.shape))


@solvers
@pytest.mark.parametrize("factors", [12, 40])
def test_the_same_seed_gives_the_same_bits_at_any_number_of_threads(rng, solver, factors):
    """With rows long and short, and more of them than one thread takes at a time."""
    dense = (rng.random((700, 300)) < rng.random((700, 1)) ** 3).astype(np.float32)
    models = [
        _model(solver=solver, factors=factors, n_jobs=n_jobs, iterations=3, compute_loss=True).fit(dense)
        for n_jobs in (1, 2, 3, None, 2)
    ]
    for other in models[1:]:
        _assert_same_factors(models[0], other)
        assert other.loss_history_ == models[0].loss_history_
        for ours, theirs in zip(models[0].recommend(k=9), other.recommend(k=9), strict=True):
            assert_array_equal(ours, theirs)
        assert_array_equal(models[0].transform(dense[::7]), other.transform(dense[::7]))


def test_random_state_may_be_anything_that_gives_numbers(data):
    seeds = [0, np.int64(0), np.random.default_rng(0), np.random.SeedSequence(0)]
    first, *others = [_model(random_state=seed).fit(data) for seed in seeds]
    for other in others:
        _assert_same_factors(first, other)
    legacy = [_model(random_state=np.random.RandomState(3)).fit(data) for _ in range(2)]
    _assert_same_factors(*legacy)


def test_other_seeds_give_other_vectors(data):
    fits = [_model(random_state=seed).fit(data) for seed in (0, 1, None, None)]
    for i, one in enumerate(fits):
        assert all((one.item_factors_ != other.item_factors_).any() for other in fits[:i])


def test_a_generator_goes_on_from_fit_to_fit(data):
    model = _model(random_state=np.random.default_rng(0))
    first = model.fit(data).item_factors_
    assert (model.fit(data).item_factors_ != first).any()


@pytest.mark.parametrize("auto", [(4, "cholesky"), (40, "cg"), (520, "ials++")])
def test_solver_auto_is_the_one_that_the_docstring_names(auto):
    factors, solver = auto
    matrix = np.eye(8)
    options = {"factors": factors, "iterations": 1}
    _assert_same_factors(_model(solver="auto", **options).fit(matrix), _model(solver=solver, **options).fit(matrix))


@pytest.mark.parametrize("factors", [200, pytest.param(4096, marks=pytest.mark.slow)])
def test_many_more_factors_than_rows_do_no_harm(data, factors):
    """Scores of the fold-in are exact: by the push-through identity they need the items' inner products alone."""
    objective = OBJECTIVES["hu"]
    model = _model(objective, factors=factors, iterations=1).fit(data)
    assert model.user_factors_.shape == (60, factors)
    assert np.isfinite(_scores(model)).all()
    values, items = data.to_scipy().toarray().astype(np.float64), model.item_factors_.astype(np.float64)
    products = items @ items.T
    expected = []
    for row in values:
        weights = np.where(row != 0, 1 + objective.alpha * np.abs(row), objective.unobserved_weight)
        system = weights[:, np.newaxis] * products + objective.regularization * np.eye(row.size)
        expected.append(products @ np.linalg.solve(system, weights * (row > 0)))
    assert_allclose(model.transform(data.to_scipy()) @ model.item_factors_.T, expected, atol=1e-3)


def test_without_a_penalty_more_factors_than_rank_do_no_harm(likes):
    """Every system is singular; vectors stay small and the pairs are told apart."""
    model = _model(AlsObjective(regularization=0), factors=70, solver="cholesky", iterations=6).fit(likes)
    assert np.abs(model.user_factors_).max() < 100
    assert np.abs(model.item_factors_).max() < 100
    stored = likes.to_scipy().toarray() > 0
    assert _scores(model)[stored].min() > _scores(model)[~stored].max()


PARAMETERS = [
    ({"factors": 0}, ValueError, "factors must be >= 1, got 0"),
    ({"factors": -4}, ValueError, "factors must be >= 1, got -4"),
    ({"factors": 8193}, ValueError, "factors must be <= 8192, got 8193"),
    ({"factors": 12.0}, TypeError, "factors must be an integer, got 12.0"),
    ({"factors": True}, TypeError, "factors must be an integer, got True"),
    ({"regularization": -0.1}, ValueError, "regularization must be >= 0, got -0.1"),
    ({"regularization": np.nan}, ValueError, "regularization must be finite, got nan"),
    ({"regularization": "0.1"}, TypeError, "regularization must be a real number, got '0.1'"),
    ({"alpha": -1}, ValueError, "alpha must be >= 0, got -1"),
    ({"alpha": np.inf}, ValueError, "alpha must be finite, got inf"),
    ({"unobserved_weight": 0}, ValueError, "unobserved_weight must be "),
    ({"unobserved_weight": -1}, ValueError, "unobserved_weight must be "),
    ({"regularization_exponent": -0.1}, ValueError, "regularization_exponent must be >= 0, got -0.1"),
    ({"regularization_exponent": 1.1}, ValueError, "regularization_exponent must be <= 1, got 1.1"),
    ({"iterations": 0}, ValueError, "iterations must be >= 1, got 0"),
    ({"iterations": 1.5}, TypeError, "iterations must be an integer, got 1.5"),
    ({"solver": "lu"}, ValueError, "solver must be one of 'auto', 'cholesky', 'cg', 'ials++', got 'lu'"),
    ({"solver": None}, ValueError, "solver must be one of 'auto', 'cholesky', 'cg', 'ials++', got None"),
    ({"cg_steps": 0}, ValueError, "cg_steps must be >= 1, got 0"),
    ({"cg_tol": -1}, ValueError, "cg_tol must be >= 0, got -1"),
    ({"block_size": 0}, ValueError, "block_size must be >= 1, got 0"),
    ({"compute_loss": 1}, TypeError, "compute_loss must be True or False, got 1"),
    ({"tol": -1e-3}, ValueError, "tol must be >= 0, got -0.001"),
    ({"early_stopping": "yes"}, TypeError, "early_stopping must be True or False, got 'yes'"),
    ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be >= 1, got 0"),
    ({"warm_start": None}, TypeError, "warm_start must be True or False, got None"),
    ({"random_state": "seed"}, TypeError, "random_state must be None, an integer or a NumPy Generator, got 'seed'"),
    ({"random_state": -1}, ValueError, "random_state must be >= 0, got -1"),
    ({"n_jobs": 0}, ValueError, "n_jobs must not be 0; use None for all CPUs or a positive number of threads"),
    ({"n_jobs": 1.5}, TypeError, "n_jobs must be an integer, got 1.5"),
    ({"callbacks": "print"}, TypeError, "callbacks must be callable, got str"),
    ({"callbacks": [print, 3]}, TypeError, "callbacks must be callable, got int"),
]


@pytest.mark.parametrize(("parameters", "error", "message"), PARAMETERS, ids=[str(row[0]) for row in PARAMETERS])
def test_fit_refuses_a_bad_parameter(data, parameters, error, message):
    """The constructor stores it, whatever it is."""
    model = _model(**parameters)
    with pytest.raises(error, match=f"^ImplicitALS: {message.replace('+', chr(92) + '+')}"):
        model.fit(data)


@pytest.mark.parametrize("parameters", [{"factors": 0}, {"alpha": -1}], ids=str)
def test_partial_fit_checks_the_parameters_too(data, parameters):
    model = _model().fit(data)
    with pytest.raises(ValueError, match=r"^ImplicitALS: "):
        model.set_params(**parameters).partial_fit(data)


# ---- on the way ----------------------------------------------------------------------------------------------------


def test_callbacks_see_every_iteration_and_a_usable_model(data):
    seen = []

    def watch(model, iteration, loss):
        folded = model.transform(data.to_scipy()) @ model.item_factors_.T
        seen.append((iteration, loss, model.recommend(k=3).items, folded))

    model = _model(callbacks=watch, compute_loss=True).fit(data)
    assert [iteration for iteration, *_ in seen] == [1, 2, 3, 4, 5]
    assert [loss for _, loss, *_ in seen] == model.loss_history_
    for n_iterations, (_, _, items, folded) in enumerate(seen, start=1):
        alone = _model(callbacks=lambda *_: None, iterations=n_iterations).fit(data)
        assert_array_equal(items, alone.recommend(k=3).items)
        assert_allclose(folded, alone.transform(data.to_scipy()) @ alone.item_factors_.T, atol=1e-4)


def test_callbacks_get_no_loss_unless_it_is_computed(data):
    losses = []
    _model(callbacks=lambda model, iteration, loss: losses.append(loss)).fit(data)
    assert losses == [None] * 5


def test_a_callback_that_looks_changes_nothing(data):
    alone, watched = _model().fit(data), _model(callbacks=[lambda *_: None]).fit(data)
    assert_allclose(_scores(watched), _scores(alone), atol=1e-4)


def test_each_of_several_callbacks_may_stop_the_fit(data):
    calls = []
    model = _model(callbacks=[lambda _, i, __: i == 2, lambda _, i, __: calls.append(i)]).fit(data)
    assert model.n_iter_ == 2
    assert calls == [1, 2]


def test_an_exception_in_a_callback_takes_the_fit_back(data, likes):
    def fail(model, iteration, loss):
        raise RuntimeError("out of cheese")

    model = _model().fit(data)
    before = _model().fit(data)
    with pytest.raises(RuntimeError, match="out of cheese"):
        model.set_params(callbacks=fail).fit(likes)
    _assert_same_factors(model, before)
    assert model.n_users_ == 60


@solvers
def test_ctrl_c_in_a_callback_leaves_the_model_of_that_iteration(data, solver):
    def interrupt(model, iteration, loss):
        if iteration == 3:
            raise KeyboardInterrupt

    interrupted = _model(solver=solver, callbacks=interrupt)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(data)
    finished = _model(solver=solver, callbacks=lambda *_: None, iterations=3).fit(data)
    assert interrupted.n_iter_ == 3
    _assert_same_factors(interrupted, finished)
    assert_array_equal(interrupted.recommend(k=5).items, finished.recommend(k=5).items)


def _assert_usable(model, matrix):
    """Users and items stand in one basis, in which the model folds in: what was liked scores higher."""
    stored = matrix.to_scipy().toarray() > 0
    scores = _scores(model)
    assert scores[stored].mean() > scores[~stored].mean() + 0.1
    folded = model.transform(matrix.to_scipy()) @ model.item_factors_.T
    assert folded[stored].mean() > folded[~stored].mean() + 0.1
    assert model.recommend(k=3).items.shape == (matrix.n_rows, 3)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends a signal")
@pytest.mark.parametrize("compute_loss", [False, True])
def test_ctrl_c_at_any_moment_leaves_a_usable_model(compute_loss):
    """A timer strikes at thirty moments, in kernels and between them; in the first iteration the fit is taken back."""
    rng = np.random.default_rng(0)
    matrix = CSR.from_scipy(sp.csr_array((rng.random((400, 300)) < 0.1).astype(np.float32)))
    options = {"factors": 48, "iterations": 12, "solver": "cholesky", "compute_loss": compute_loss}
    start = time.perf_counter()
    _model(**options).fit(matrix)
    duration = time.perf_counter() - start
    armed, n_interrupted = False, 0

    def strike(*_):
        if armed:
            raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, strike)
    try:
        for moment in np.linspace(0.0, 1.0, 31)[1:]:
            model = _model(**options)
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, moment * duration)
                model.fit(matrix)
                armed = False
            except KeyboardInterrupt:
                armed = False
                n_interrupted += 1
            if hasattr(model, "interactions_"):
                _assert_usable(model, matrix)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert n_interrupted > 0


def test_ctrl_c_before_anything_is_learned_takes_the_fit_back(data, likes, monkeypatch):
    model, before = _model().fit(data), _model().fit(data)
    monkeypatch.setattr(lw.ImplicitALS, "_iterate", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(likes)
    _assert_same_factors(model, before)
    assert model.n_users_ == 60
    assert model.n_iter_ == 5
    with pytest.raises(KeyboardInterrupt):
        (fresh := _model()).fit(likes)
    with pytest.raises(NotFittedError):
        fresh.recommend()


def test_ctrl_c_in_partial_fit_changes_nothing(data, monkeypatch):
    model, before = _model().fit(data), _model().fit(data)
    for name in ("_solve_rows", "_set_interactions"):
        with monkeypatch.context() as patch:
            patch.setattr(lw.ImplicitALS, name, _interrupt)
            with pytest.raises(KeyboardInterrupt):
                model.partial_fit(np.ones((61, 46)))
        _assert_same_factors(model, before)
        assert model.recommend(k=2).items.shape == (60, 2)


def _interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on Unix")
def test_a_real_ctrl_c_ends_the_fit_and_the_model_goes_on():
    code = """
        import numpy as np
        import likewise as lw
        matrix = (np.random.default_rng(0).random((200, 100)) < 0.2).astype(np.float32)
        tell = lambda model, iteration, loss: print("iteration", iteration, flush=True) if iteration == 1 else None
        model = lw.ImplicitALS(factors=16, iterations=10**9, callbacks=tell, random_state=0)
        try:
            model.fit(matrix)
        except KeyboardInterrupt:
            print(model.n_iter_ >= 1, model.recommend(k=3).items.shape, model.partial_fit(matrix).n_users_)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "iteration 1\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert output == "True (200, 3) 200\n"
    assert errors == ""
    assert process.returncode == 0


def test_verbose_draws_a_bar_and_silence_is_the_default(data, capfd):
    """Kernels print nothing either: it is the file descriptors that are watched."""
    _model(compute_loss=True).fit(data)
    assert capfd.readouterr() == ("", "")
    _model(compute_loss=True, verbose=True, callbacks=lambda *_: time.sleep(0.11)).fit(
        data
    )  # a bar is drawn that often
    output, bar = capfd.readouterr()
    assert output == ""
    assert "ImplicitALS" in bar
    assert "loss=" in bar


def test_tol_stops_when_the_loss_has_settled(data):
    model = _model(tol=1e-3, iterations=1000, solver="cholesky").fit(data)
    losses = np.array(model.loss_history_)
    falls = -np.diff(losses) / losses[:-1]
    assert 2 < model.n_iter_ == len(losses) < 1000
    assert (falls[:-1] >= 1e-3).all()
    assert falls[-1] < 1e-3


def test_early_stopping_keeps_the_best_vectors(likes):
    """It watches NDCG@10 on hidden items, which here soon has nothing more to learn."""
    seen = []
    model = _model(
        early_stopping=True,
        n_iter_no_change=4,
        iterations=200,
        callbacks=lambda model, *_: seen.append((model.user_factors_.copy(), model.item_factors_.copy())),
    ).fit(likes)
    history = np.array(model.validation_history_)
    best = history.argmax()
    assert model.n_iter_ == len(history) == best + 1 + 4 < 200
    assert model.best_iteration_ == best + 1
    users, items = seen[best]
    assert_allclose(_scores(model), users @ items.T, atol=1e-4)


def test_early_stopping_trains_on_what_is_not_hidden(likes):
    """What it leaves is what a plain fit on the visible part gives after as many iterations as the best had."""
    model = _model(early_stopping=True, n_iter_no_change=2, iterations=30).fit(likes)
    visible, hidden = hide_items(likes)
    best = int(np.argmax(model.validation_history_)) + 1
    plain = _model(iterations=best).fit(visible)
    assert_allclose(_scores(model), _scores(plain), atol=1e-3)
    ranked = plain.recommend(k=10).items
    users = np.flatnonzero(hidden.row_counts())
    values = [
        reference.ranking_metric("ndcg", 10, ranked[user], reference.relevant_items(hidden, user)) for user in users
    ]
    assert model.validation_history_[best - 1] == pytest.approx(np.mean(values), abs=1e-6)
    assert model.interactions_.nnz == likes.nnz


def test_the_best_iteration_is_the_last_without_early_stopping(data):
    assert _model(iterations=3).fit(data).best_iteration_ == 3
    assert _model(iterations=30, tol=0.1).fit(data).best_iteration_ < 30


def test_loss_history_holds_that_of_the_best_iteration(likes):
    """It goes on to the last one that was run, whose vectors were not kept."""
    model = _model(early_stopping=True, n_iter_no_change=2, iterations=30, compute_loss=True).fit(likes)
    assert len(model.loss_history_) == model.n_iter_ > model.best_iteration_
    until_best = _model(
        early_stopping=True, n_iter_no_change=2, iterations=model.best_iteration_, compute_loss=True
    ).fit(likes)
    assert model.loss_history_[model.best_iteration_ - 1] == pytest.approx(until_best.loss_history_[-1])
    assert_allclose(_scores(model), _scores(until_best), atol=1e-4)


def test_iterations_travel_with_the_file(likes, tmp_path):
    model = _model(early_stopping=True, n_iter_no_change=2, iterations=30).fit(likes)
    model.save(tmp_path / "model")
    loaded = lw.load(tmp_path / "model")
    assert (loaded.n_iter_, loaded.best_iteration_) == (model.n_iter_, model.best_iteration_)


def test_early_stopping_needs_something_to_hide():
    with pytest.raises(ValueError, match=r"^ImplicitALS: early_stopping needs a user with two items"):
        _model(early_stopping=True).fit(np.eye(6))


# ---- warm start ----------------------------------------------------------------------------------------------------


@solvers
def test_a_warm_start_goes_on_where_the_fit_ended(data, solver):
    whole = _model(solver=solver, iterations=6, cg_tol=0.0).fit(data)
    parts = _model(solver=solver, iterations=2, cg_tol=0.0, warm_start=True).fit(data)
    parts.set_params(iterations=4).fit(data)
    cold = _model(solver=solver, iterations=4, cg_tol=0.0).fit(data)
    assert parts.n_iter_ == 4
    assert_allclose(_scores(parts), _scores(whole), atol=0.02)  # in another basis bfloat16 rounds in another way
    assert np.abs(_scores(cold) - _scores(whole)).max() > 0.1


def test_a_warm_start_finds_users_and_items_again_by_id():
    """Half of them are new and all stand elsewhere; a first iteration is then better than from the start."""
    rng = np.random.default_rng(5)
    users, items = np.indices((40, 30))
    users, items = np.nonzero((users % 3 == items % 3) & (rng.random((40, 30)) < 0.7))
    early, late = (users < 30) & (items < 25), (users >= 5) & (items >= 3)
    old = lw.Interactions.from_arrays(1000 + users[early], 500 + items[early])
    new = lw.Interactions.from_arrays(1000 + users[late], 500 + items[late])
    options = {"factors": 3, "compute_loss": True, "regularization": 0.01, "solver": "cholesky"}
    warm = _model(**options, iterations=30, warm_start=True).fit(old).set_params(iterations=1).fit(new)
    cold = _model(**options, iterations=1).fit(new)
    assert warm.loss_history_[0] < 0.8 * cold.loss_history_[0]


def test_a_warm_start_between_rows_and_ids_starts_over(data, likes):
    """Row numbers and ids have nothing in common."""
    model = _model(warm_start=True).fit(data)
    by_id = lw.Interactions.from_arrays(*(np.argwhere(likes.to_scipy().toarray()).T + 100))
    _assert_same_factors(model.fit(by_id), _model().fit(by_id))


def test_a_warm_start_needs_as_many_factors(data):
    model = _model(warm_start=True).fit(data)
    before = _model().fit(data)
    with pytest.raises(ValueError, match=r"^ImplicitALS: warm_start needs factors=12 as in the last fit, got 13$"):
        model.set_params(factors=13).fit(data)
    _assert_same_factors(model, before)


def test_without_a_warm_start_a_second_fit_starts_over(data):
    _assert_same_factors(_model().fit(data).fit(data), _model().fit(data))


# ---- folding in ----------------------------------------------------------------------------------------------------


@solvers
@objectives
@pytest.mark.parametrize("factors", [3, 12, 50])
def test_transform_solves_exactly_whatever_the_solver(data, solver, objective, factors):
    """Rows shorter and longer than the vectors, with dislikes, and one with nothing."""
    model = _model(objective, solver=solver, factors=factors).fit(data)
    expected = reference.als_half_sweep(data, model.item_factors_, objective)
    vectors = model.transform(data.to_scipy())
    assert vectors.dtype == np.float32
    assert_allclose(vectors, expected, atol=5e-4 * np.abs(expected).max())
    assert not vectors[5].any()


def test_transform_leaves_items_out_that_the_model_does_not_know():
    rng = np.random.default_rng(1)
    pairs = np.argwhere(rng.random((30, 20)) < 0.3)
    model = _model().fit(lw.Interactions.from_arrays(pairs[:, 0], [f"i{item}" for item in pairs[:, 1]]))
    known = lw.Interactions.from_arrays(["new"] * 3, ["i3", "i0", "i11"], [1.0, 2.0, 3.0])
    more = lw.Interactions.from_arrays(["new"] * 4, ["i3", "i0", "never", "i11"], [1.0, 2.0, 9.0, 3.0])
    assert_array_equal(model.transform(known), model.transform(more))


def test_transform_after_convergence_is_what_the_fit_left(likes):
    model = _model(iterations=300, factors=4, solver="cholesky").fit(likes)
    assert_allclose(model.transform(likes.to_scipy()), model.user_factors_, atol=1e-3)


@pytest.mark.parametrize("factors", [3, 50])
def test_fold_in_is_transform_of_one_row(data, factors):
    model = _model(factors=factors).fit(data)
    rows = data.to_scipy().toarray()
    for user in (0, 5, 17):
        items = np.flatnonzero(rows[user])
        shuffled = np.random.default_rng(user).permutation(items)
        vector = model.fold_in(shuffled, rows[user][shuffled])
        assert vector.shape == (factors,)
        assert_array_equal(vector, model.transform(rows[[user]])[0])
    assert_array_equal(model.fold_in([4, 2]), model.fold_in([2, 4], [1, 1]))
    assert_array_equal(model.fold_in([]), np.zeros(factors, np.float32))


def test_fold_in_follows_parameters_set_after_the_fit(data):
    model = _model(regularization=0.1).fit(data)
    before = model.fold_in([4, 2])
    model.set_params(regularization=50.0, n_jobs=1)
    assert np.linalg.norm(model.fold_in([4, 2])) < 0.5 * np.linalg.norm(before)
    assert_array_equal(model.set_params(regularization=0.1, n_jobs=2).fold_in([4, 2]), before)


def test_fold_in_speaks_ids():
    data = lw.Interactions.from_arrays(["a", "a", "b"], ["x", "y", "z"])
    model = _model(factors=2).fit(data)
    assert_array_equal(model.fold_in(["z", "x"]), model.transform(np.array([[1, 0, 1]]))[0])
    assert_array_equal(model.fold_in("y"), model.fold_in(["y"]))


@pytest.mark.parametrize(
    ("items", "values", "error", "message"),
    [
        ([1, 1], None, ValueError, "fold_in: each item may stand once; sum its values"),
        ([1, 2], [1.0], ValueError, "fold_in: values must be 2 finite numbers, one an item"),
        ([1, 2], [1.0, np.nan], ValueError, "fold_in: values must be 2 finite numbers, one an item"),
        ([1], [[1.0]], ValueError, "fold_in: values must be 1 finite numbers, one an item"),
        ([45], None, IndexError, r"fold_in: item 45 is outside \[0, 45\)"),
        ([-1], None, IndexError, r"fold_in: item -1 is outside \[0, 45\)"),
        ([0.5], None, TypeError, "fold_in: item must be integers, got float64"),
        (["tea"], None, TypeError, "fold_in: item must be integers"),
    ],
    ids=str,
)
def test_fold_in_refuses_bad_arguments(data, items, values, error, message):
    with pytest.raises(error, match=f"^{message}"):
        _model().fit(data).fold_in(items, values)


@pytest.mark.parametrize("name", ["fold_in", "transform", "explain"])
def test_use_before_fit_is_not_fitted_error(data, name):
    arguments = {"fold_in": ([1],), "transform": (data.to_scipy(),), "explain": (0, 1)}[name]
    with pytest.raises(NotFittedError):
        getattr(_model(), name)(*arguments)


# ---- explain -------------------------------------------------------------------------------------------------------


@objectives
@pytest.mark.parametrize("factors", [3, 50])
def test_explain_tells_apart_what_makes_the_score(data, objective, factors):
    model = _model(objective, factors=factors).fit(data)
    vectors = model.transform(data.to_scipy()).astype(np.float64)
    for user, item in [(0, 3), (17, 20), (30, 8)]:
        explanation = model.explain(user, item, k=45)
        assert explanation.score == pytest.approx(vectors[user] @ model.item_factors_[item], abs=2e-3)
        assert explanation.contributions.sum() == pytest.approx(explanation.score, abs=1e-9)
        assert_array_equal(np.sort(explanation.items), data.row(user)[0])
        assert (np.diff(explanation.contributions) <= 0).all()
        assert_array_equal(model.explain(user, item, k=2).items, explanation.items[:2])
        assert model.explain(user, item, k=2).score == explanation.score


def test_explain_gives_each_item_what_the_score_owes_to_it(data):
    """The right side of the user's system is a sum over items; each solved for alone gives its contribution."""
    objective = OBJECTIVES["hu"]
    model = _model(objective).fit(data)
    user, item = 17, 20
    ids, values = data.row(user)
    matrix, _ = list(reference.als_systems(data, model.item_factors_, objective))[user]
    explanation = model.explain(user, item, k=45)
    given = dict(zip(explanation.items.tolist(), explanation.contributions, strict=True))
    for seen, value in zip(ids, values, strict=True):
        weight = (1 + objective.alpha * abs(value)) * (value > 0)
        alone = model.item_factors_[item] @ np.linalg.solve(
            matrix, weight * model.item_factors_[seen].astype(np.float64)
        )
        assert given[seen] == pytest.approx(alone, abs=1e-4)
        assert (given[seen] == 0) or value > 0


def test_explain_speaks_ids_and_knows_its_limits(data):
    users, items, values = [f"u{u}" for u in data.row_numbers()], [f"i{i}" for i in data.indices], data.values
    model = _model().fit(lw.Interactions.from_arrays(users, items, values))
    explanation = model.explain("u0", "i3")
    assert len(explanation.items) <= 10
    assert set(explanation.items) <= {f"i{i}" for i in data.row(0)[0]}
    with pytest.raises(KeyError, match="'nobody' is unknown"):
        model.explain("nobody", "i3")
    with pytest.raises(KeyError, match="'nothing' is unknown"):
        model.explain("u0", "nothing")
    with pytest.raises(ValueError, match=r"^explain: k must be >= 1, got 0$"):
        model.explain("u0", "i3", k=0)


def test_explain_of_a_user_without_history_is_nothing(data):
    explanation = _model().fit(data).explain(5, 3)
    assert explanation.score == 0
    assert len(explanation.items) == len(explanation.contributions) == 0


# ---- partial fit ---------------------------------------------------------------------------------------------------


@solvers
@objectives
def test_partial_fit_solves_for_the_rows_it_is_given(data, solver, objective):
    """Users, their items, the users again, each exactly and over old and new interactions; nobody else moves."""
    model = _model(objective, solver=solver).fit(data)
    new = sp.csr_array(
        ([2.0, 1.0, -1.0, 3.0, 1.0, 1.0], ([3, 3, 61, 61, 61, 3], [45, 7, 45, 46, 7, 8])),
        shape=(62, 47),
        dtype=np.float32,
    )
    joined = data.to_scipy(copy=True)
    joined.resize(new.shape)
    matrix = CSR.from_scipy(sp.csr_array(joined + new))
    users, items = np.zeros((62, 12)), np.zeros((47, 12))
    users[:60], items[:45] = model.user_factors_, model.item_factors_
    old_scores = users @ items.T
    touched_users, touched_items = [3, 61], [7, 8, 45, 46]
    by_item = matrix.transpose()
    users[touched_users] = reference.als_half_sweep(matrix, items, objective)[touched_users]
    items[touched_items] = reference.als_half_sweep(by_item, users, objective)[touched_items]
    users[touched_users] = reference.als_half_sweep(matrix, items, objective)[touched_users]
    model.partial_fit(new)
    assert_allclose(_scores(model), users @ items.T, atol=3e-3)
    others = np.ix_(np.setdiff1d(np.arange(62), touched_users), np.setdiff1d(np.arange(47), touched_items))
    assert_allclose(_scores(model)[others], old_scores[others], atol=1e-4)
    assert_allclose(
        model.transform(matrix.to_scipy()), reference.als_half_sweep(matrix, model.item_factors_, objective), atol=3e-3
    )


def test_partial_fit_keeps_the_vectors_in_their_eigenbasis(data):
    model = _model().fit(data).partial_fit(data.take_rows(np.arange(9)))
    gramian = reference.gramian(model.item_factors_)
    assert np.abs(gramian - np.diag(np.diag(gramian))).max() < 1e-5 * np.abs(gramian).max()


def test_partial_fit_keeps_the_factors_of_the_fit(data):
    """A parameter that was changed since is for the next fit."""
    model = _model(factors=6).fit(data).set_params(factors=9).partial_fit(data)
    assert model.item_factors_.shape == (45, 6)


def test_partial_fit_knows_users_by_id_wherever_they_stand():
    rng = np.random.default_rng(3)
    pairs = np.argwhere(rng.random((20, 15)) < 0.3)
    model = _model().fit(lw.Interactions.from_arrays(pairs[:, 0] + 100, pairs[:, 1] + 500))
    before = dict(zip(model.interactions_.user_ids, _scores(model), strict=True))
    model.partial_fit(lw.Interactions.from_arrays([7, 110], [514, 3]))
    assert_array_equal(model.interactions_.user_ids[:-1], list(before))
    assert model.interactions_.user_ids[-1] == 7
    after = _scores(model)
    for row, user in enumerate(before):
        if user != 110:
            others = np.arange(14)  # item 514 is solved for again
            assert_allclose(after[row][others], before[user][others], atol=1e-4)


# ---- files ---------------------------------------------------------------------------------------------------------


def test_a_loaded_model_folds_in_and_explains_alike(data, tmp_path):
    model = _model().fit(data)
    model.save(tmp_path / "model")
    loaded = lw.load(tmp_path / "model")
    _assert_same_factors(loaded, model)
    assert loaded.n_iter_ == model.n_iter_
    assert_array_equal(loaded.transform(data.to_scipy()), model.transform(data.to_scipy()))
    assert_array_equal(loaded.explain(0, 3).contributions, model.explain(0, 3).contributions)
    _assert_same_factors(loaded.partial_fit(data), model.partial_fit(data))


def test_a_generator_and_callbacks_do_not_travel(data, tmp_path):
    model = _model(random_state=np.random.default_rng(0), callbacks=[lambda *_: None]).fit(data)
    model.save(tmp_path / "model")
    loaded = lw.load(tmp_path / "model")
    assert loaded.random_state is None
    assert loaded.callbacks is None


def test_numpy_scalars_travel_as_numbers(data, tmp_path):
    model = _model(factors=np.int64(5), alpha=np.float32(0.5)).fit(data)
    model.save(tmp_path / "model")
    assert lw.load(tmp_path / "model").get_params()["factors"] == 5
    assert lw.load(tmp_path / "model").alpha == 0.5
