//! Attacks on memory.

use std::hint::black_box;

const MEGABYTE: usize = 1 << 20;

/// Takes memory, a megabyte at a time, and touches it, until the host says no. Returns the megabytes.
pub fn take_all() -> u64 {
    let mut taken = 0;
    let mut blocks = Vec::new();
    loop {
        let mut block: Vec<u8> = Vec::new();
        if blocks.try_reserve(1).is_err() || block.try_reserve_exact(MEGABYTE).is_err() {
            return taken;
        }
        block.resize(MEGABYTE, 0xAB);
        blocks.push(black_box(block));
        taken += 1;
    }
}

/// A string that isn't UTF-8, for the host to receive.
pub fn invalid_utf8() -> String {
    // SAFETY: none. The string only goes to the host, which mustn't trust it.
    unsafe { String::from_utf8_unchecked(b"{\"text\":\"\xff\xfe\"}".to_vec()) }
}
