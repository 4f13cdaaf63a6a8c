// The one loop helper: every piece once, on any number of threads, and exceptions after the join.

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/parallel.hpp"
#include "expect.hpp"

namespace likewise::testing {

namespace {

void covers_the_range_once(int n_threads, std::int64_t n, std::int64_t grain) {
  const Context ctx{n_threads, nullptr};
  std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
  std::atomic<bool> is_in_order{true};
  const std::int64_t length = grain < 1 ? 1 : grain;
  parallel_for(ctx, n, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
    if (begin % length != 0 || end <= begin || end - begin > length || end > n) is_in_order = false;
    if (worker < 0 || worker >= n_threads) is_in_order = false;
    for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
  });
  bool is_once = true;
  for (const auto& count : visits) is_once = is_once && count == 1;
  const std::string where = std::to_string(n) + " by " + std::to_string(grain) + " on " + std::to_string(n_threads);
  expect(is_once, "every index is visited once: " + where);
  expect(is_in_order, "pieces begin at multiples of the grain and workers have names: " + where);
}

void rethrows_the_exception(int n_threads) {
  const Context ctx{n_threads, nullptr};
  std::atomic<int> n_running{0};
  std::string caught;
  try {
    parallel_for(ctx, 1000, 1, [&](std::int64_t begin, std::int64_t, int) {
      ++n_running;
      if (begin == 3) {
        --n_running;
        throw std::domain_error("piece 3");
      }
      std::this_thread::yield();
      --n_running;
    });
  } catch (const std::domain_error& error) {
    caught = error.what();
    expect(n_running == 0, "the threads are joined before the exception is thrown again");
  }
  expect(caught == "piece 3", "the body's exception arrives with its type and message");
}

void ends_early_after_an_exception() {
  const Context ctx{1, nullptr};
  int n_pieces = 0;
  try {
    parallel_for(ctx, 1000, 1, [&](std::int64_t, std::int64_t, int) {
      ++n_pieces;
      throw std::runtime_error("at once");
    });
  } catch (const std::runtime_error&) {
  }
  expect(n_pieces == 1, "no piece is begun after an exception");
}

void throws_one_of_many(int n_threads) {
  const Context ctx{n_threads, nullptr};
  bool is_caught = false;
  try {
    parallel_for(ctx, 64, 1, [&](std::int64_t begin, std::int64_t, int) { throw begin; });
  } catch (std::int64_t begin) {
    is_caught = begin >= 0 && begin < 64;
  }
  expect(is_caught, "one exception arrives where every piece throws");
}

}  // namespace

void test_parallel() {
  for (const int n_threads : {1, 2, 3, 8}) {
    for (const std::int64_t n : {0, 1, 2, 7, 100, 1001}) {
      for (const std::int64_t grain : {-1, 0, 1, 3, 100, 5000}) covers_the_range_once(n_threads, n, grain);
    }
    rethrows_the_exception(n_threads);
    throws_one_of_many(n_threads);
  }
  ends_early_after_an_exception();
}

}  // namespace likewise::testing
