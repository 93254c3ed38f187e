use keybearer_guest::prelude::*;

#[derive(Output)]
struct Found {
    /// Their names, where they have one.
    names: Vec<Option<String>>,
}

fn main() {}
