use keybearer_guest::prelude::*;

/// An answer.
#[derive(Output)]
struct Answer {}

/// Looks.
#[tool]
fn look() -> Result<Answer> {
    Ok(Answer {})
}

mod other {
    use super::*;

    /// Looks elsewhere.
    #[tool]
    pub fn look() -> Result<Answer> {
        Ok(Answer {})
    }
}

keybearer_guest::export!(look, other::look);

fn main() {}
