use keybearer_guest::prelude::*;

#[derive(Args)]
struct Asked {
    /// A hyphen in its name.
    #[arg(name = "user-id")]
    user: String,
    /// An underscore at its beginning.
    _id: String,
    /// A letter that isn't ASCII.
    größe: i64,
    /// Too many characters.
    #[arg(name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
    long: String,
}

#[derive(Output)]
struct Found {
    /// A space in its name.
    #[output(name = "a b")]
    words: String,
    /// No name.
    #[output(name = "")]
    nothing: String,
    /// A hyphen, which a result may have.
    #[output(name = "user-id")]
    user: String,
}

/// Looks.
#[tool(connections = ["stripe", "Stripe"])]
fn capital() -> Result<Found> {
    todo!()
}

/// Looks.
#[tool(connections = ["-stripe"])]
fn hyphen() -> Result<Found> {
    todo!()
}

/// Looks.
#[tool(connections = [""])]
fn nowhere() -> Result<Found> {
    todo!()
}

fn main() {}
