"""fill_normal: what is drawn, and that it depends on seed and place alone."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_array_equal
from scipy import stats

from likewise._backend import Backend


def drawn(n, seed=3, scale=1.0, n_threads=1):
    backend = Backend(n_threads)
    out = backend.empty((n,))
    out[...] = np.nan
    backend.kernels.fill_normal(backend.context, seed, scale, out)
    return out


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_numbers_are_normal(seed):
    x = drawn(2_000_000, seed).astype(np.float64)
    assert stats.kstest(x, "norm").pvalue > 1e-4
    for power, expected, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(x**power) - expected) < 5 * np.sqrt(spread / x.size)
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 5 / np.sqrt(x.size)


def test_tails_are_as_heavy_as_they_should_be():
    """Beyond where the layers end, too."""
    x = drawn(20_000_000, n_threads=2)
    for bound in (2.5, 3.5, 3.66, 4.2, 4.8):
        expected = stats.norm.sf(bound) * x.size
        for tail in (np.count_nonzero(x > bound), np.count_nonzero(x < -bound)):
            assert abs(tail - expected) < 5 * np.sqrt(expected)
    assert np.abs(x).max() < 13


@given(n=st.integers(0, 40_000), seed=st.integers(0, 2**63 - 1), scale=st.sampled_from([0.1, 1.0, 3.5]))
def test_any_number_of_threads_gives_the_same_bits(n, seed, scale):
    one, other = (drawn(n, seed, scale, n_threads) for n_threads in (1, 2))
    assert_array_equal(one, other)
    assert np.isfinite(one).all()
    assert_array_equal(one, (np.float32(scale) * drawn(n, seed)).astype(np.float32))


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 1021])
def test_a_number_does_not_depend_on_how_many_there_are(n):
    assert_array_equal(drawn(n), drawn(5000)[:n])


def test_seeds_draw_anew():
    assert (drawn(100, 1) != drawn(100, 2)).all()


def test_scale_must_be_finite():
    assert_array_equal(drawn(7, scale=0.0), 0)
    for scale in (np.nan, np.inf):
        with pytest.raises(ValueError, match="fill_normal: scale must be finite"):
            drawn(3, scale=scale)
