#pragma once
// Blocks of users and blocks of items form a grid: cells that share neither row nor column may be worked on side by
// side, for they touch no vector in common (Gemulla et al. (2011), doi:10.1145/2020408.2020426). What stands in a block
// depends on the data and a seed, never on the number of threads.

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "context.hpp"
#include "parallel.hpp"
#include "philox.hpp"
#include "types.hpp"

namespace likewise {

/// The key of a seed; a counter's words tell the purposes apart.
constexpr PhiloxKey philox_key(std::uint64_t seed) {
  return {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
}

/// The first row of block p: of `n_blocks` blocks of rows of about as many entries.
template <class T>
Offset first_row_of_block(CsrView<T> matrix, Offset p, Offset n_blocks) {
  if (p == n_blocks) return matrix.n_rows;
  const Offset* end = matrix.indptr + matrix.n_rows + 1;
  return std::lower_bound(matrix.indptr, end, matrix.nnz() * p / n_blocks) - matrix.indptr;
}

/// The numbers from 0 in an order that key and `round` draw (Fisher and Yates).
inline void shuffled_numbers(PhiloxKey key, std::uint32_t round, std::span<Id> out) {
  std::iota(out.begin(), out.end(), Id{0});
  PhiloxCounter words{};
  const auto n = static_cast<std::uint32_t>(out.size());
  for (std::uint32_t i = 0; i + 1 < n; ++i) {
    if (i % 4 == 0) words = philox4x32({i / 4, ~std::uint32_t{0}, round, ~std::uint32_t{0}}, key);
    std::swap(out[i], out[i + uniform_below(words[i % 4], n - i)]);
  }
}

/// Calls body(p, q, worker) once for each cell of n_blocks x n_blocks, in n_blocks turns of cells that share neither.
/// In turn t stand the cells (p, p + t) modulo n_blocks; `turns` names their order.
template <class Turns, class Body>
void for_each_cell(const Context& ctx, Offset n_blocks, const Turns& turns, Body&& body) {
  for (const auto turn : turns) {
    parallel_for(ctx, n_blocks, 1, [&](Offset begin, Offset end, int worker) {
      for (Offset p = begin; p < end; ++p) body(p, (p + static_cast<Offset>(turn)) % n_blocks, worker);
    });
  }
}

}  // namespace likewise
