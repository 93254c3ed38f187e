use keybearer_guest::prelude::*;

#[derive(Args)]
struct Generic<T> {
    /// A value.
    value: T,
}

#[derive(Output)]
struct Tuple(String);

#[derive(Args)]
enum Kind {
    One,
}

#[derive(Choice)]
enum Data {
    One(u32),
}

#[derive(Choice)]
enum Twice {
    #[choice(name = "one")]
    First,
    One,
}

#[derive(Output)]
struct Tree {
    /// Smaller trees.
    children: Vec<Tree>,
}

#[derive(Output)]
struct Pair {
    /// One.
    one: i64,
    /// Another.
    #[output(from = "one")]
    other: i64,
}

#[derive(Args)]
struct Model {
    /// How it's set up.
    model_config: String,
    /// What to write.
    #[arg(name = "model_dump")]
    dump: String,
    /// What it's set to.
    #[arg(name = "Config")]
    config: String,
}

fn main() {}
