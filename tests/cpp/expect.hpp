#pragma once
// The whole test framework of the C++ tests: count what does not hold, and say where.

#include <cstdio>
#include <source_location>
#include <string>

namespace likewise::testing {

inline int n_failures = 0;

inline void expect(bool holds, const std::string& what,
                   const std::source_location& where = std::source_location::current()) {
  if (holds) return;
  ++n_failures;
  std::fprintf(stderr, "%s:%u: %s\n", where.file_name(), static_cast<unsigned>(where.line()), what.c_str());
}

}  // namespace likewise::testing
