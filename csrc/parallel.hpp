#pragma once
// The only place that starts threads. Standard threads, started for one loop and joined before it returns: nothing
// lives on between calls, so a process may fork, and no second OpenMP runtime is brought into it.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "context.hpp"

namespace likewise {

/// Calls body(begin, end, worker) for consecutive pieces of [0, n) of at most `grain` each, on up to ctx.n_threads
/// threads; `worker` < ctx.n_threads names the scratch that a thread may use. Which thread takes which piece is not
/// defined, where the pieces begin is: a body whose pieces do not interact gives the same result at any thread count.
/// The first exception of a body ends the loop early and is thrown again after the join.
template <class Body>
void parallel_for(const Context& ctx, std::int64_t n, std::int64_t grain, Body&& body) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t n_pieces = (n + grain - 1) / grain;
  const int n_workers = static_cast<int>(std::min<std::int64_t>(ctx.n_threads, n_pieces));
  std::atomic<std::int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr first_error;
  std::mutex error_mutex;

  const auto work = [&](int worker) {
    try {
      for (;;) {
        const std::int64_t piece = next.fetch_add(1, std::memory_order_relaxed);
        if (piece >= n_pieces || failed.load(std::memory_order_relaxed)) return;
        body(piece * grain, std::min(n, (piece + 1) * grain), worker);
      }
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!first_error) first_error = std::current_exception();
      failed.store(true, std::memory_order_relaxed);
    }
  };

  {
    std::vector<std::thread> threads;
    const auto join_all = [&] {
      for (auto& thread : threads) thread.join();
    };
    try {
      threads.reserve(static_cast<std::size_t>(std::max(0, n_workers - 1)));
      for (int worker = 1; worker < n_workers; ++worker) threads.emplace_back(work, worker);
    } catch (...) {
      // Too few threads to be had: those that started, and this one, do the work.
    }
    work(0);
    join_all();
  }
  if (first_error) std::rethrow_exception(first_error);
}

}  // namespace likewise
