//! Attacks on memory.

use std::hint::black_box;

use crate::Outcome;

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

/// How much memory is filled with the mark: more than a host may keep resident between calls.
const MARKED_BYTES: usize = 8 * MEGABYTE;

/// Fills memory with a text, reversed, so that the arguments of [`find_mark`] aren't what it finds.
pub fn leave_mark(text: &str) -> Outcome {
    let mark: Vec<u8> = text.bytes().rev().collect();
    if mark.is_empty() {
        return Outcome::number(0);
    }
    let copies = MARKED_BYTES / mark.len();
    std::mem::forget(black_box(mark.repeat(copies)));
    Outcome::number(copies as u64)
}

/// Counts the copies of a text, reversed, in the whole linear memory, after growing it to take in what was there.
pub fn find_mark(text: &str) -> Outcome {
    let text = text.as_bytes();
    if text.is_empty() {
        return Outcome::number(0);
    }
    core::arch::wasm32::memory_grow(0, 2 * MARKED_BYTES / 65536);
    let end = core::arch::wasm32::memory_size(0) * 65536;
    let mut found = 0;
    for start in 1..end - text.len() {
        // SAFETY: the address lies in the linear memory, all of which can be read as bytes.
        let is = |at: usize, byte: u8| unsafe { *((start + at) as *const u8) } == byte;
        if text.iter().rev().enumerate().all(|(at, &byte)| is(at, byte)) {
            found += 1;
        }
    }
    Outcome::number(found)
}

/// A string that isn't UTF-8, for the host to receive.
pub fn invalid_utf8() -> String {
    // SAFETY: none. The string only goes to the host, which mustn't trust it.
    unsafe { String::from_utf8_unchecked(b"{\"text\":\"\xff\xfe\"}".to_vec()) }
}
