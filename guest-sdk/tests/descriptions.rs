//! What the macros make of doc comments.

use keybearer_guest::Tool;
use keybearer_guest::prelude::*;

/// What came of it.
#[derive(Output)]
struct Done {
    /// Whether it is.
    done: bool,
}

/// Has lists,
/// as this one:
/// - one that
///   goes on,
/// - two;
///
/// 1. first
/// 2. second
///
/// * starred
/// * and again
///
/// And a table:
///
/// | a | b |
/// |---|---|
/// | 1 | 2 |
///
/// **All** of it, with ```code``` in it,
/// is for models.
#[tool]
fn lists() -> Result<Done> {
    Ok(Done { done: true })
}

#[test]
fn items_and_rows_keep_their_lines() {
    let expected = "Has lists, as this one:\n- one that goes on,\n- two;\n1. first\n2. second\n* starred\n* and again\n\
        And a table:\n| a | b |\n|---|---|\n| 1 | 2 |\n**All** of it, with ```code``` in it, is for models.";
    assert_eq!(lists::DESCRIPTION, expected);
}

/// Runs a script:
/// ```sh
/// # not a heading
///     indented
///
/// run
/// ```
/// After it.
/// # For developers
///
/// Not for models.
#[tool]
fn code() -> Result<Done> {
    Ok(Done { done: true })
}

#[test]
fn a_heading_in_code_is_none() {
    let expected = "Runs a script:\n```sh\n# not a heading\n    indented\n\nrun\n```\nAfter it.";
    assert_eq!(code::DESCRIPTION, expected);
}

/** Stands in a block,
 * whose stars are no items:
 * - an item
 *
 * **Last**.
 *
 * # For developers
 * Not for models.
 */
#[tool]
fn block() -> Result<Done> {
    Ok(Done { done: true })
}

#[test]
fn a_block_comment_loses_its_stars() {
    let expected = "Stands in a block, whose stars are no items:\n- an item\n**Last**.";
    assert_eq!(block::DESCRIPTION, expected);
}
