#pragma once
// Agreement of shapes, checked in the first lines of a kernel. The message names subject, rule and value.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace likewise {

/// Throws std::invalid_argument unless a == b, in the form
/// "als_half_sweep: interactions has 30 columns but y has 29 rows".
inline void check_equal(std::string_view kernel, std::string_view left, std::int64_t a, std::string_view a_unit,
                        std::string_view right, std::int64_t b, std::string_view b_unit) {
  if (a == b) return;
  const auto clause = [](std::string_view subject, std::int64_t n, std::string_view unit) {
    return std::string(subject) + " has " + std::to_string(n) + " " + std::string(unit);
  };
  throw std::invalid_argument(std::string(kernel) + ": " + clause(left, a, a_unit) + " but " +
                              clause(right, b, b_unit));
}

/// Throws std::invalid_argument "<kernel>: <rule>" unless the condition holds.
inline void check_that(bool condition, std::string_view kernel, std::string_view rule) {
  if (!condition) throw std::invalid_argument(std::string(kernel) + ": " + std::string(rule));
}

}  // namespace likewise
