//! Skips what holds none of the patterns, most of it without being looked at (Wu and Manber's way).
//!
//! Every pattern is at least as long as the window. The last few bytes of the window say how far it may move on without
//! passing over the beginning of any pattern; where they say nothing, the automaton looks closer.

use std::ops::ControlFlow;

/// How many bytes are looked at together.
const BLOCK: usize = 3;
/// A longer window skips hardly more, and its shifts have to fit into a byte.
const WINDOW_MAX: usize = 64;
/// How many shifts there are, as a power of two. Blocks that share one share the smaller.
const SLOTS_BITS: u32 = 13;

/// How far to move on from each block.
pub(super) struct Filter {
    shifts: Box<[u8; 1 << SLOTS_BITS]>,
    window: usize,
    /// The length of the longest pattern.
    longest: usize,
}

impl Filter {
    /// For these patterns, whatever the case of their letters. `None`: one is too short, or there's none.
    pub(super) fn new(patterns: &[Vec<u8>]) -> Option<Self> {
        let window = patterns.iter().map(Vec::len).min()?.min(WINDOW_MAX);
        let farthest = u8::try_from((window + 1).checked_sub(BLOCK).filter(|shift| *shift > 0)?).ok()?;
        let mut filter = Self {
            shifts: Box::new([farthest; 1 << SLOTS_BITS]),
            window,
            longest: patterns.iter().map(Vec::len).max()?,
        };
        for pattern in patterns {
            // INVARIANT (passed over nothing): a block's shift is at most its distance from the window's end in every
            // pattern that has it.
            for (block, shift) in pattern.windows(BLOCK).zip((0..farthest).rev()) {
                if let Some(kept) = filter.shifts.get_mut(slot(block)) {
                    *kept = (*kept).min(shift);
                }
            }
        }
        Some(filter)
    }

    /// Asks `holds` about each stretch of the text that may begin with a pattern, and answers whether it holds one.
    ///
    /// Whoever writes the text may know the patterns: once as many bytes were asked about as there are, the rest is asked
    /// about as a whole, so the time stays linear.
    pub(super) fn any(&self, text: &[u8], holds: impl Fn(&[u8]) -> bool) -> bool {
        let mut asked = 0_usize;
        let found = self.places(text, |at| {
            let whole = asked > text.len();
            let end = if whole { text.len() } else { text.len().min(at + self.longest) };
            let stretch = text.get(at..end).unwrap_or_default();
            asked += stretch.len();
            match (holds(stretch), whole) {
                (true, _) => ControlFlow::Break(true),
                (false, true) => ControlFlow::Break(false),
                (false, false) => ControlFlow::Continue(()),
            }
        });
        matches!(found, ControlFlow::Break(true))
    }

    /// Each place where a pattern may begin, from left to right.
    fn places(&self, text: &[u8], mut tell: impl FnMut(usize) -> ControlFlow<bool>) -> ControlFlow<bool> {
        // Where the window begins, and the block at its end.
        let mut at = 0_usize;
        while let Some(block) = text.get(at + self.window - BLOCK..at + self.window) {
            match self.shifts.get(slot(block)) {
                Some(0) | None => {
                    tell(at)?;
                    at += 1;
                }
                Some(shift) => at += usize::from(*shift),
            }
        }
        ControlFlow::Continue(())
    }
}

/// Where a block's shift lies. Letters of either case come to the same, and some other bytes with them.
fn slot(block: &[u8]) -> usize {
    let &[a, b, c] = block else { return 0 };
    let folded = u32::from_le_bytes([a, b, c, 0]) | 0x0020_2020;
    // Fibonacci hashing: the upper bits depend on all of the lower ones.
    (folded.wrapping_mul(0x9e37_79b1) >> (u32::BITS - SLOTS_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(patterns: &[&str]) -> Option<Filter> {
        Filter::new(&patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    /// The plain way.
    fn holds(text: &[u8], patterns: &[&str]) -> bool {
        let text = text.to_ascii_lowercase();
        patterns.iter().any(|pattern| {
            text.windows(pattern.len()).any(|window| window == pattern.to_ascii_lowercase().as_bytes())
        })
    }

    #[test]
    fn most_of_a_text_is_not_looked_at() {
        let filter = filter(&["sk_live_51H8abcdefghijkl", "lkjihgfedcba8H15_evil_ks"]).unwrap();
        let mut places = 0;
        let _ =
            filter.places(&b"a text that has nothing to do with it, of some length. ".repeat(100), |_| {
                places += 1;
                ControlFlow::Continue(())
            });
        assert!(places < 20, "{places}");
    }

    #[test]
    fn patterns_that_are_too_short_have_no_filter() {
        assert!(filter(&[]).is_none());
        assert!(filter(&["ab", "abcdefgh"]).is_none());
        assert!(filter(&["abc"]).is_some());
    }

    #[test]
    fn a_text_made_to_be_looked_at_costs_no_more_than_all_of_it() {
        let pattern = "x".repeat(60) + "y";
        let filter = filter(&[&pattern]).unwrap();
        let text = "x".repeat(100_000);
        let looked = std::cell::Cell::new(0);
        let found = filter.any(text.as_bytes(), |stretch| {
            looked.set(looked.get() + stretch.len());
            holds(stretch, &[&pattern])
        });
        assert!(!found && looked.get() < 3 * text.len(), "{}", looked.get());
        assert!(filter.any(format!("{text}y").as_bytes(), |stretch| holds(stretch, &[&pattern])));
    }

    proptest! {
        #[test]
        fn it_passes_over_nothing(
            patterns in proptest::collection::vec("[abAB%]{3,9}", 1..6),
            text in "[abAB%]{0,80}",
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let found = filter(&patterns).unwrap().any(text.as_bytes(), |stretch| holds(stretch, &patterns));
            prop_assert_eq!(found, holds(text.as_bytes(), &patterns));
        }

        #[test]
        fn it_finds_a_pattern_at_any_place(
            pattern in "[!-~]{3,90}",
            other in "[!-~]{3,90}",
            before in "[ -~]{0,200}",
            after in "[ -~]{0,200}",
        ) {
            let text = format!("{before}{}{after}", pattern.to_ascii_uppercase());
            let filter = filter(&[&pattern, &other]).unwrap();
            prop_assert!(filter.any(text.as_bytes(), |stretch| holds(stretch, &[&pattern])));
        }
    }
}
