// See cuda_runtime.h. Threads of a block are threads here, so that the thread sanitizer sees the
// accesses of a kernel between barriers: reads and writes that no barrier orders are races.
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "launch.h"

namespace cuda_shim {
namespace {

// Leaves a thread whose barrier can never be complete.
struct Abandoned {};

// A barrier that finds out when some of its threads ended without reaching it.
class Barrier {
 public:
  explicit Barrier(unsigned members) : members_(members) {}

  // False where others have ended: they will never come.
  bool meet() {
    std::unique_lock<std::mutex> lock(mutex_);
    const unsigned round = round_;
    if (++waiting_ == members_) {
      waiting_ = 0;
      ++round_;
      changed_.notify_all();
      return true;
    }
    if (waiting_ + ended_ == members_) {
      broken_ = true;
      changed_.notify_all();
    }
    changed_.wait(lock, [&] { return round_ != round || broken_; });
    return round_ != round;
  }

  void end() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++ended_;
    if (waiting_ > 0 && waiting_ + ended_ == members_) {
      broken_ = true;
      changed_.notify_all();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  const unsigned members_;
  unsigned waiting_ = 0;
  unsigned ended_ = 0;
  unsigned round_ = 0;
  bool broken_ = false;
};

// Lanes wait for each other in shuffles without ordering their memory: all is relaxed, so that the
// sanitizer takes a shuffle for no barrier. (The numbers pass all the same: an x86 keeps stores
// before the read-modify-write that follows them.)
struct Warp {
  std::atomic<uint64_t> slots[2][kWarp]{};  // one exchange writes while slow lanes read the last
  std::atomic<unsigned> arrived{0};         // in all exchanges
  std::atomic<unsigned> ended{0};
  Barrier barrier{kWarp};
};

struct Block {
  explicit Block(unsigned threads) : barrier(threads), warps(threads / kWarp) {
    for (auto& warp : warps) {
      warp = std::make_unique<Warp>();
    }
  }
  Barrier barrier;
  std::vector<std::unique_ptr<Warp>> warps;
  std::mutex mutex;
  const char* mistake = nullptr;
};

thread_local Block* block;
thread_local unsigned exchanges;

Warp& warp() { return *block->warps[threadIdx.x / kWarp]; }

void fail(const char* mistake) {
  const std::lock_guard<std::mutex> lock(block->mutex);
  block->mistake = mistake;
  throw Abandoned{};
}

}  // namespace

void meet_warp() {
  if (!warp().barrier.meet()) {
    fail("a __syncwarp that not all threads of the warp reach");
  }
}

void meet_block() {
  if (!block->barrier.meet()) {
    fail("a __syncthreads that not all threads of the block reach");
  }
}

void put(uint64_t number) {
  warp().slots[exchanges % 2][threadIdx.x % kWarp].store(number, std::memory_order_relaxed);
}

void meet_lanes() {
  Warp& mine = warp();
  const unsigned all = kWarp * (exchanges + 1);
  mine.arrived.fetch_add(1, std::memory_order_relaxed);
  while (mine.arrived.load(std::memory_order_relaxed) < all) {
    const unsigned ended = mine.ended.load(std::memory_order_relaxed);
    if (ended > 0 && mine.arrived.load(std::memory_order_relaxed) + ended >= all) {
      if (mine.arrived.load(std::memory_order_relaxed) < all) {
        fail("a shuffle that not all threads of the warp take part in");
      }
    }
    std::this_thread::yield();
  }
}

uint64_t take(unsigned lane) {
  return warp().slots[exchanges % 2][lane].load(std::memory_order_relaxed);
}

void next_exchange() { ++exchanges; }

void run_block(const cudaLaunchConfig_t& config, unsigned index, Thread thread, void* argument) {
  const unsigned count = config.blockDim.x;
  Block shared(count);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned place = device().last_first ? count - 1 - i : i;
    threads.emplace_back([&, place] {
      block = &shared;
      exchanges = 0;
      threadIdx = dim3(place);
      blockIdx = dim3(index);
      blockDim = config.blockDim;
      gridDim = config.gridDim;
      try {
        thread(argument);
      } catch (const Abandoned&) {
      }
      warp().ended.fetch_add(1, std::memory_order_relaxed);
      warp().barrier.end();
      shared.barrier.end();
    });
  }
  for (auto& one : threads) {
    one.join();
  }
  if (shared.mistake != nullptr) {
    throw std::logic_error(shared.mistake);
  }
}

}  // namespace cuda_shim
