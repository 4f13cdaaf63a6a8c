#pragma once
// Memory of one worker of a kernel: aligned scratch, freed at its end, and lines asked for ahead.

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>

namespace likewise {

inline constexpr std::size_t kCacheLine = 64;

/// Asks for the cache line of an address that will be read soon.
inline void prefetch([[maybe_unused]] const void* p) {
#ifndef _MSC_VER
  __builtin_prefetch(p);
#endif
}

struct AlignedDelete {
  void operator()(void* p) const { ::operator delete(p, std::align_val_t{kCacheLine}); }
};

/// An array of n trivial values on a 64-byte boundary.
template <class T>
class Scratch {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Scratch() = default;
  explicit Scratch(std::size_t n)
      : data_(static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{kCacheLine}))) {}

  [[nodiscard]] T* get() const { return data_.get(); }
  T& operator[](std::size_t i) const { return data_.get()[i]; }

 private:
  std::unique_ptr<T, AlignedDelete> data_;
};

}  // namespace likewise
