use keybearer_guest::prelude::*;

#[derive(Args)]
struct Asked {
    #[doc = concat!("The id, ", "as given")]
    id: String,
    /// Up to its first heading, that is.
    ///
    /// # For developers
    #[doc = include_str!("texts.stderr")]
    note: String,
}

#[doc = include_str!("texts.stderr")]
#[tool]
fn look(args: Asked) -> Result<String> {
    Ok(args.id)
}

fn main() {}
