use std::collections::HashMap;

use keybearer_guest::prelude::*;

/// A map has no closed schema.
#[derive(Output)]
struct Answer {
    /// Open to any name.
    map: HashMap<String, String>,
}

#[derive(Reply)]
struct Plain {
    id: String,
}

/// Looks.
#[tool]
fn look(args: Plain) -> Result<Plain> {
    Ok(args)
}

/// Looks twice.
#[tool]
fn look_twice() -> Option<String> {
    None
}

fn main() {}
