//! Where a plugin's memory comes from.
//!
//! An instance lives for one call. Growing its memory costs the host a change of page protection, and
//! taking the pages back costs another one, which interrupts every other processor: together more than a
//! short call takes. So the first allocations come out of [`ROOM`], which is part of the memory that an
//! instance begins with; only what needs more makes it grow. Pages that are never touched cost nothing.
#![allow(unsafe_code)] // An allocator is told of memory by its address.

use core::alloc::Layout;
use core::cell::UnsafeCell;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

/// Enough for a statement's record, and for a batch of values with its edits.
const ROOM: usize = 256 << 10;
/// One page of WebAssembly.
const PAGE: usize = 64 << 10;
/// The memory grows by so many pages at least, if it may.
const GROWS_BY: usize = 16;
/// More than the allocator's own data about a region.
const AROUND: usize = 1 << 10;

#[repr(align(64))]
struct Room(UnsafeCell<[u8; ROOM]>);

// SAFETY: a component has one thread, and nothing but the allocator reads or writes this.
unsafe impl Sync for Room {}

static FIRST: Room = Room(UnsafeCell::new([0; ROOM]));

/// First the room that is there, then the memory's growth.
#[derive(Debug)]
struct RoomThenGrowth {
    taken: bool,
}

// SAFETY: nothing in here allocates, and every region is handed over once and used by nobody else.
unsafe impl Source for RoomThenGrowth {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if !std::mem::replace(&mut talc.source.taken, true) {
            // SAFETY: `FIRST` is handed over here, and `taken` says that this was done.
            let claimed = unsafe { talc.claim(FIRST.0.get().cast(), ROOM) };
            if claimed.is_some() {
                return Ok(());
            }
        }
        let bytes = layout.size().saturating_add(layout.align());
        let least = bytes.saturating_add(AROUND).div_ceil(PAGE);
        let [wanted, least] = [least.max(GROWS_BY), least];
        let (first, pages) = match core::arch::wasm32::memory_grow::<0>(wanted) {
            usize::MAX => (core::arch::wasm32::memory_grow::<0>(least), least),
            first => (first, wanted),
        };
        if first == usize::MAX {
            return Err(());
        }
        // SAFETY: these pages did not exist before.
        let claimed = unsafe { talc.claim((first * PAGE) as *mut u8, pages * PAGE) };
        claimed.map(|_| ()).ok_or(())
    }
}

#[global_allocator]
static ALLOCATOR: TalcSyncCell<RoomThenGrowth, WasmBinning> =
    TalcSyncCell::new_wasm(RoomThenGrowth { taken: false });
