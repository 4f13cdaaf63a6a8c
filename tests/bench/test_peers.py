"""Equal objective, shown: each contestant converges to the minimum of the one loss that the benchmarks compare."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

from bench import datasets, harness, ours, peers

Dense = npt.NDArray[np.float64]
CONTESTANTS = (*ours.OURS.values(), *peers.PEERS)
ALPHA, REGULARIZATION, FACTORS, EPOCHS = 2.0, 1.0, 4, 200


@pytest.fixture(scope="module")
def matrix() -> sp.csr_matrix:
    """At most 120 × 80, 0/1, the largest 15 % of a matrix of rank 3: a problem with one pronounced minimum."""
    rng = np.random.default_rng(0)
    scores = rng.random((120, 3)) @ rng.random((3, 80))
    liked = scores > np.quantile(scores, 0.85)
    # cmfrec's CG leaves a row without entries at its starting values; no row is without here.
    return sp.csr_matrix(liked[liked.any(axis=1)][:, liked.any(axis=0)], dtype=np.float32)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One limit around a test: setting it anew costs more than an epoch of these small problems."""
    with harness.limit_threads(1):
        monkeypatch.setattr(peers, "limit_threads", lambda *_: contextlib.nullcontext())
        yield


def _converged(peer: type[peers.Contestant], problem: peers.Problem, epochs: int) -> peers.Factors:
    try:
        contestant = peer(problem)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    return contestant.train(epochs)


def _half_sweep(confidence: Dense, preference: Dense, y: Dense) -> Dense:
    """Exact solutions of all rows, dense and in float64."""
    systems = np.einsum("um,md,me->ude", confidence, y, y) + REGULARIZATION * np.eye(FACTORS)
    return np.linalg.solve(systems, ((confidence * preference) @ y)[:, :, None])[:, :, 0]


@pytest.fixture(scope="module")
def minimum(matrix: sp.csr_matrix) -> float:
    """The loss that exact alternating least squares converges to."""
    preference = matrix.toarray().astype(np.float64)
    confidence = 1 + ALPHA * preference
    y = np.random.default_rng(0).random((matrix.shape[1], FACTORS))
    for _ in range(EPOCHS):
        x = _half_sweep(confidence, preference, y)
        y = _half_sweep(confidence.T, preference.T, x)
    loss = np.sum(confidence * (preference - x @ y.T) ** 2) + REGULARIZATION * (np.sum(x**2) + np.sum(y**2))
    return float(loss / confidence.sum())


@pytest.mark.parametrize("peer", CONTESTANTS, ids=lambda peer: peer.name)
def test_contestant_converges_to_the_common_loss(
    peer: type[peers.Contestant], matrix: sp.csr_matrix, minimum: float
) -> None:
    problem = peers.Problem(matrix, FACTORS, REGULARIZATION, ALPHA, threads=1)
    x, y = _converged(peer, problem, EPOCHS)
    loss = datasets.als_loss(x, y, matrix, regularization=REGULARIZATION, alpha=ALPHA)
    assert loss == pytest.approx(minimum, rel=1e-3)
    checked = {"regularization": REGULARIZATION, "alpha": ALPHA, "rtol": 5e-3}
    datasets.check_als_rows(x, matrix, y, **checked)
    datasets.check_als_rows(y, matrix.T.tocsr(), x, **checked)


@pytest.mark.parametrize(
    "peer",
    [*ours.OURS.values(), *(peer for peer in peers.PEERS if peer is not peers.CmfrecCG)],
    ids=lambda peer: peer.name,
)
def test_contestant_gives_stored_values_their_weight(peer: type[peers.Contestant], matrix: sp.csr_matrix) -> None:
    weighted = matrix.copy()
    weighted.data = np.random.default_rng(1).integers(1, 5, matrix.nnz).astype(np.float32)
    x, y = _converged(peer, peers.Problem(weighted, FACTORS, REGULARIZATION, 1.5, threads=1), EPOCHS)
    checked = {"regularization": REGULARIZATION, "alpha": 1.5, "rtol": 5e-3}
    datasets.check_als_rows(x, weighted, y, **checked)
    datasets.check_als_rows(y, weighted.T.tocsr(), x, **checked)


@pytest.mark.parametrize("peer", [ours.Likewise, peers.ImplicitCG, peers.IrspackCG], ids=lambda peer: peer.name)
def test_contestant_folds_new_users_in(peer: type[peers.FoldsIn], matrix: sp.csr_matrix) -> None:
    problem = peers.Problem(matrix, FACTORS, REGULARIZATION, ALPHA, threads=1)
    try:
        contestant = peer(problem)
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    _, y = contestant.train(3)
    new = matrix[::-1].tocsr()[:17]
    found = contestant.transform(contestant.prepare(new))
    datasets.check_als_rows(found, new, y, regularization=REGULARIZATION, alpha=ALPHA)


@pytest.mark.parametrize("peer", CONTESTANTS, ids=lambda peer: peer.name)
def test_an_epoch_takes_time_and_counts(peer: type[peers.Contestant]) -> None:
    dense = np.random.default_rng(0).random((600, 400)) < 0.2
    matrix = sp.csr_matrix(dense, dtype=np.float32)
    try:
        contestant = peer(peers.Problem(matrix, 16, REGULARIZATION, ALPHA, threads=1))
    except peers.PeerUnavailableError as error:
        pytest.skip(str(error))
    assert contestant.epoch() > 0
    one = datasets.als_loss(*contestant.factors(), matrix, regularization=REGULARIZATION, alpha=ALPHA)
    assert contestant.epoch() > 0
    two = datasets.als_loss(*contestant.factors(), matrix, regularization=REGULARIZATION, alpha=ALPHA)
    assert two < one


def test_implicit_reports_the_same_loss(matrix: sp.csr_matrix) -> None:
    native = pytest.importorskip("implicit.cpu._als", reason="implicit is not installed")
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((n, FACTORS), dtype=np.float32) for n in matrix.shape)
    confidence = (matrix * 2.5 + matrix).astype(np.float32)
    theirs = native.calculate_loss(confidence, x, y, 0.3, num_threads=1)
    assert datasets.als_loss(x, y, matrix, regularization=0.3, alpha=2.5) == pytest.approx(theirs, rel=1e-5)


def test_cmfrec_cg_refuses_what_it_cannot_express(matrix: sp.csr_matrix) -> None:
    pytest.importorskip("cmfrec", reason="cmfrec is not installed")
    with pytest.raises(peers.PeerUnavailableError, match="above 1"):
        peers.CmfrecCG(peers.Problem(matrix, FACTORS, alpha=1.0))


def test_select_takes_prefixes() -> None:
    assert peers.select(["irspack c", "implicit"]) == [
        peers.IrspackCG,
        peers.IrspackCholesky,
        peers.ImplicitCG,
        peers.ImplicitCholesky,
    ]
    with pytest.raises(ValueError, match="no peer's name begins with 'spark'"):
        peers.select(["spark"])
