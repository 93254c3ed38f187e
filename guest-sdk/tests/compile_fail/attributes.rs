use keybearer_guest::prelude::*;

#[derive(Args)]
struct Asked {
    /// A text.
    #[arg(min = 1)]
    text: String,
    /// A number.
    #[arg(max_len = 3)]
    number: Option<u32>,
    /// A list.
    #[arg(pattern = "^a")]
    list: Vec<String>,
    /// A pattern that clients can't compile.
    #[arg(pattern = "^(?!x)")]
    pattern: String,
    /// A key that doesn't exist.
    #[arg(minimum = 1)]
    key: i64,
    /// A bound that is no number.
    #[arg(min = "1")]
    bound: i64,
    /// A bound that is no integer.
    #[arg(min = 0.5)]
    part: i64,
    /// A bound that the type doesn't have.
    #[arg(min = -1000, max = 1000)]
    small: Option<u8>,
    /// A bound that JSON's readers don't have.
    #[arg(max = 99999999999999999999)]
    large: f64,
    /// A bound that no number has.
    #[arg(max = 1e400)]
    larger: f64,
}

#[derive(Reply)]
struct Found {
    #[reply(min = 1)]
    id: u32,
}

#[derive(Args)]
#[arg(min = 1)]
struct Whole {
    /// A number.
    number: i64,
}

#[derive(Choice)]
#[choice(rename_all = "UPPERCASE")]
enum Order {
    Newest,
}

fn main() {}
