"""The counter-based generator against the known answers that Random123 publishes (`kat_vectors`)."""

from __future__ import annotations

import numpy as np
import pytest

from likewise import _core

ALL_ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        pytest.param((0, 0, 0, 0), (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], id="zeros"),
        pytest.param((ALL_ONES,) * 4, (ALL_ONES,) * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD], id="ones"),
        pytest.param(
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
            id="pi",
        ),
    ],
)
def test_philox4x32_known_answers(counter, key, answer):
    assert list(_core.philox4x32(counter, key)) == answer


def test_philox4x32_is_a_function_of_counter_and_key():
    assert _core.philox4x32((1, 2, 3, 4), (5, 6)) == _core.philox4x32((1, 2, 3, 4), (5, 6))


@pytest.mark.parametrize("word", range(6))
def test_philox4x32_flips_half_of_the_bits_for_one_changed_bit(word):
    changed = [0] * 6
    changed[word] = 1
    before = np.array(_core.philox4x32((0, 0, 0, 0), (0, 0)), dtype=np.uint32)
    after = np.array(_core.philox4x32(tuple(changed[:4]), tuple(changed[4:])), dtype=np.uint32)
    n_flipped = int(np.unpackbits((before ^ after).view(np.uint8)).sum())
    assert 40 <= n_flipped <= 88  # 64 +- 4 standard deviations of 128 fair coins, and a little


def test_philox4x32_words_are_uniform():
    words = np.array([_core.philox4x32((row, 0, 0, 0), (7, 0)) for row in range(2000)], dtype=np.float64) / 2**32
    np.testing.assert_allclose(words.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(words.var(axis=0), 1 / 12, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(words.T), np.eye(4), atol=0.1)


@pytest.mark.parametrize("counter", [(0, 0, 0), (0, 0, 0, 2**32), (0, 0, 0, -1), (0.5, 0, 0, 0)])
def test_philox4x32_refuses_what_is_no_counter(counter):
    with pytest.raises(TypeError):
        _core.philox4x32(counter, (0, 0))
