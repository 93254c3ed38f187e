use keybearer_guest::prelude::*;

/// An address, as a reply has it.
#[derive(Output)]
struct Address {
    /// The postal code.
    #[output(from = "postal_code")]
    zip: Option<String>,
}

/// A letter.
#[derive(Output)]
struct Letter {
    /// Where it goes.
    to: Vec<Address>,
}

/// A board.
#[derive(Output)]
struct Board {
    /// Its rows.
    rows: Vec<Vec<i64>>,
}

/// A person.
#[derive(Output)]
struct Person {
    /// Their id.
    _id: String,
}

/// A place, with another name upstream.
#[derive(Args, Payload)]
struct Place {
    /// Its name.
    #[payload(name = "title")]
    name: String,
}

#[derive(Args)]
struct Asked {
    /// Read under another name.
    address: Option<Address>,
    /// Read under another name further down.
    letter: Letter,
    /// A list of lists.
    rows: Vec<Vec<String>>,
    /// A list of lists further down.
    board: Board,
    /// Named as no argument can be.
    people: Vec<Person>,
}

/// What was found.
#[derive(Output)]
struct Found {
    /// Read as arguments are.
    place: Place,
}

#[derive(Reply)]
struct Page {
    places: Option<Vec<Place>>,
}

fn main() {}
