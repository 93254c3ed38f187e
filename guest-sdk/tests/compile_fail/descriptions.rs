use keybearer_guest::prelude::*;

#[derive(Args)]
struct Asked {
    id: String,
    /// Described.
    limit: u32,
    /// # Only a heading
    note: Option<String>,
}

#[derive(Output)]
struct Answer {
    pub status: String,
}

#[tool]
fn look(args: Asked) -> Result<Answer> {
    Ok(Answer { status: args.id })
}

fn main() {}
