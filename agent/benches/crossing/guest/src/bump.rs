//! An allocator that moves a pointer and starts over when nothing is left: as cheap as one can be, and of no use to a
//! plugin that keeps anything between calls. Here to see what the usual allocator costs.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;

const SIZE: usize = 8 << 20;

struct Bump {
    next: UnsafeCell<usize>,
    live: UnsafeCell<usize>,
    memory: UnsafeCell<[u8; SIZE]>,
}

// SAFETY: a component built without atomics has one thread.
unsafe impl Sync for Bump {}

#[global_allocator]
static BUMP: Bump = Bump { next: UnsafeCell::new(0), live: UnsafeCell::new(0), memory: UnsafeCell::new([0; SIZE]) };

// SAFETY: blocks never overlap while they live, since the pointer moves back only when none lives.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and no reference outlives this function.
        let (next, live) = unsafe { (&mut *self.next.get(), &mut *self.live.get()) };
        let base = self.memory.get() as usize;
        let start = (base + *next).next_multiple_of(layout.align()) - base;
        if start + layout.size() > SIZE {
            return std::ptr::null_mut();
        }
        *next = start + layout.size();
        *live += 1;
        // SAFETY: the block ends inside the array.
        unsafe { self.memory.get().cast::<u8>().add(start) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {
        // SAFETY: one thread, and no reference outlives this function.
        unsafe {
            *self.live.get() -= 1;
            if *self.live.get() == 0 {
                *self.next.get() = 0;
            }
        }
    }
}
