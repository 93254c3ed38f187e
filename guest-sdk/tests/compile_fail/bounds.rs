use keybearer_guest::prelude::*;

#[derive(Args)]
struct Asked {
    /// No number is both.
    #[arg(min = 9, max = 1)]
    number: i64,
    /// No number is both, in the other order.
    #[arg(max = -0.5, min = 0)]
    part: f64,
    /// Integers are compared exactly.
    #[arg(min = 9007199254740993, max = 9007199254740992)]
    large: i64,
    /// No text has both lengths.
    #[arg(min_len = 3, max_len = 2)]
    text: Option<String>,
    /// One is both.
    #[arg(min_len = 3, max_len = 3)]
    exact: String,
}

#[derive(Output)]
struct Found {
    /// No list has both lengths.
    #[output(min_items = 2, max_items = 1)]
    list: Vec<String>,
}

fn main() {}
