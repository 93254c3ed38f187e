use keybearer_guest::prelude::*;

type Names = Vec<String>;

#[derive(Choice)]
enum Order {
    Newest,
}

#[derive(Args)]
struct Place {
    /// Its name.
    name: String,
}

#[derive(Args)]
struct Asked {
    /// A list by another name.
    #[arg(min_len = 3)]
    names: Names,
    /// A choice.
    #[arg(pattern = "^n")]
    order: Option<Order>,
    /// An object.
    #[arg(max = 1)]
    place: Place,
}

fn main() {}
