#include <setjmp.h>
#include <ucontext.h>

#include <memory>
#include <stdexcept>
#include <vector>

#include "launch.h"

namespace cuda_shim {
namespace {

constexpr size_t kStackBytes = 64 * 1024;

enum class State { kNew, kRunning, kAtWarp, kAtBlock, kDone };

struct Fibre {
  jmp_buf context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  State state = State::kNew;
  unsigned thread = 0;
  unsigned exchanges = 0;
};

struct Warp {
  uint64_t slots[2][kWarp];  // one exchange writes while slow lanes read the one before
  unsigned waiting = 0;
};

struct Block {
  Thread thread;
  void* argument;
  std::vector<Fibre*> fibres;
  std::vector<Warp> warps;
};

Block* block;
Fibre* running;
jmp_buf scheduler;

// Fibres and their stacks serve one launch after the other.
std::vector<std::unique_ptr<Fibre>>& fibre_pool() {
  static std::vector<std::unique_ptr<Fibre>> pool;
  return pool;
}

// _setjmp and _longjmp keep no signal mask: swapcontext's system call would cost thirty times as
// much, and a shuffle is a switch of fibres.
void back_to_scheduler() {
  if (_setjmp(running->context) == 0) {
    _longjmp(scheduler, 1);
  }
}

void fibre_main() {
  block->thread(block->argument);
  running->state = State::kDone;
  _longjmp(scheduler, 1);
}

void start(Fibre& fibre) {
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fibre.stack.get();
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, fibre_main, 0);
  setcontext(&context);
}

void resume(Fibre& fibre) {
  running = &fibre;
  threadIdx = dim3(fibre.thread);
  if (_setjmp(scheduler) == 0) {
    if (fibre.state == State::kNew) {
      fibre.state = State::kRunning;
      start(fibre);
    } else {
      _longjmp(fibre.context, 1);
    }
  }
}

Fibre& fibre_of(size_t warp, unsigned lane) { return *block->fibres[warp * kWarp + lane]; }

unsigned count(size_t warp, State state) {
  unsigned found = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    found += fibre_of(warp, lane).state == state;
  }
  return found;
}

// Runs a warp until all of its threads wait for the block or are done.
void run_warp(size_t warp) {
  while (count(warp, State::kAtBlock) + count(warp, State::kDone) < kWarp) {
    if (count(warp, State::kAtWarp) == kWarp) {
      for (unsigned lane = 0; lane < kWarp; ++lane) {
        fibre_of(warp, lane).state = State::kRunning;
      }
    } else if (count(warp, State::kAtWarp) > 0) {
      throw std::logic_error("a shuffle that not all threads of the warp take part in");
    }
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      Fibre& fibre = fibre_of(warp, lane);
      if (fibre.state == State::kNew || fibre.state == State::kRunning) {
        resume(fibre);
      }
    }
  }
}

void run_warps() {
  const size_t warps = block->warps.size();
  for (size_t done = 0; done < warps;) {
    for (size_t i = 0; i < warps; ++i) {
      run_warp(device().last_first ? warps - 1 - i : i);
    }
    size_t waiting = 0;
    done = 0;
    for (size_t warp = 0; warp < warps; ++warp) {
      waiting += count(warp, State::kAtBlock) == kWarp;
      done += count(warp, State::kDone) == kWarp;
    }
    if (waiting != warps && done != warps) {
      throw std::logic_error("a __syncthreads that not all threads of the block reach");
    }
    for (Fibre* fibre : block->fibres) {
      fibre->state = fibre->state == State::kAtBlock ? State::kRunning : fibre->state;
    }
  }
}

void prepare_block(Block& prepared, const cudaLaunchConfig_t& config, unsigned index) {
  prepared.warps.assign(config.blockDim.x / kWarp, Warp{});
  for (unsigned thread = 0; thread < config.blockDim.x; ++thread) {
    Fibre& fibre = *prepared.fibres[thread];
    fibre.state = State::kNew;
    fibre.exchanges = 0;
    fibre.thread = thread;
  }
  gridDim = config.gridDim;
  blockDim = config.blockDim;
  blockIdx = dim3(index);
}

}  // namespace

void meet_warp() {
  running->state = State::kAtWarp;
  back_to_scheduler();
}

void meet_block() {
  running->state = State::kAtBlock;
  back_to_scheduler();
}

static uint64_t& slot(unsigned lane) {
  return block->warps[running->thread / kWarp].slots[running->exchanges % 2][lane];
}

void put(uint64_t number) { slot(running->thread % kWarp) = number; }

void meet_lanes() { meet_warp(); }

uint64_t take(unsigned lane) { return slot(lane); }

void next_exchange() { ++running->exchanges; }

void run_block(const cudaLaunchConfig_t& config, unsigned index, Thread thread, void* argument) {
  auto& pool = fibre_pool();
  while (pool.size() < config.blockDim.x) {
    pool.push_back(std::make_unique<Fibre>());
  }
  Block current{thread, argument, {}, {}};
  for (unsigned i = 0; i < config.blockDim.x; ++i) {
    current.fibres.push_back(pool[i].get());
  }
  block = &current;
  prepare_block(current, config, index);
  run_warps();
}

}  // namespace cuda_shim
