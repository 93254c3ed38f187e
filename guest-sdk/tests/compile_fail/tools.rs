use keybearer_guest::prelude::*;

/// An answer.
#[derive(Output)]
struct Answer {}

/// Takes two.
#[tool]
fn two(one: String, other: String) -> Result<Answer> {
    Ok(Answer {})
}

/// Waits.
#[tool]
async fn wait() -> Result<Answer> {
    Ok(Answer {})
}

/// Shouts.
#[tool]
fn Shout() -> Result<Answer> {
    Ok(Answer {})
}

/// Says nothing.
#[tool]
fn silent() {}

/// Is generic.
#[tool]
fn generic<T>() -> Result<Answer> {
    Ok(Answer {})
}

/// Has a wrong key.
#[tool(connection = "stripe")]
fn wrong_key() -> Result<Answer> {
    Ok(Answer {})
}

/// Names a connection twice.
#[tool(connections = ["stripe", "stripe"])]
fn twice() -> Result<Answer> {
    Ok(Answer {})
}

fn main() {}
