use keybearer_guest::prelude::*;

#[derive(Args)]
struct Chicken {
    /// Its eggs.
    eggs: Vec<Egg>,
}

#[derive(Args)]
struct Egg {
    /// What comes out.
    chicken: Option<Chicken>,
}

fn main() {}
