#pragma once
// Blocks of users and blocks of items form a grid: cells that share neither row nor column may be worked on side by
// side, for they touch no vector in common (Gemulla et al. (2011), doi:10.1145/2020408.2020426). What stands in a block
// depends on the data and a seed, never on the number of threads.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

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

/// How many turns each block has behind it; a worker waits for those before its own.
class Turns {
 public:
  explicit Turns(Offset n_blocks) : n_done_(static_cast<std::size_t>(n_blocks)) {}

  void wait_for(Offset block, int n_turns) {
    std::atomic<int>& n_done = n_done_[static_cast<std::size_t>(block)];
    for (int n = n_done.load(std::memory_order_acquire); n < n_turns; n = n_done.load(std::memory_order_acquire)) {
      n_done.wait(n, std::memory_order_acquire);
    }
  }

  void end(Offset block) {
    std::atomic<int>& n_done = n_done_[static_cast<std::size_t>(block)];
    n_done.fetch_add(1, std::memory_order_release);
    n_done.notify_all();
  }

  /// Ends all waiting, now and later.
  void release_all() {
    for (std::atomic<int>& n_done : n_done_) {
      n_done.store(1 << 30, std::memory_order_release);
      n_done.notify_all();
    }
  }

 private:
  std::vector<std::atomic<int>> n_done_;
};

/// Calls body(p, q, worker) once for each cell of n_blocks x n_blocks. `turns` is an order of the numbers from 0; in
/// turn t stand the cells (p, p + turns[t]) modulo n_blocks, which share neither row nor column. Cells of a row, and of
/// a column, come by rising turn; others side by side. The first exception of a body is thrown again.
template <class Body>
void for_each_cell(const Context& ctx, std::span<const Id> turns, Body&& body) {
  const auto n_blocks = static_cast<Offset>(turns.size());
  Turns rows(n_blocks), columns(n_blocks);
  std::atomic<bool> failed{false};
  // One loop over all turns, so that threads start once. Pieces are taken in their order, so that whatever one waits
  // for has been taken before, by a thread that goes on; or, after an exception, may never be done.
  parallel_for(ctx, n_blocks * n_blocks, 1, [&](Offset begin, Offset end, int worker) {
    for (Offset piece = begin; piece < end; ++piece) {
      const auto turn = static_cast<int>(piece / n_blocks);
      const Offset p = piece % n_blocks, q = (p + turns[static_cast<std::size_t>(turn)]) % n_blocks;
      rows.wait_for(p, turn);
      columns.wait_for(q, turn);
      if (failed) return;
      try {
        body(p, q, worker);
      } catch (...) {
        failed = true;
        rows.release_all();
        columns.release_all();
        throw;
      }
      rows.end(p);
      columns.end(q);
    }
  });
}

}  // namespace likewise
