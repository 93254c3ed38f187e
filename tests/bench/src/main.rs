//! What a call costs, beside what it could cost at least. `cargo xtask bench` builds and starts this.
//!
//! | module | what it measures |
//! |---|---|
//! | [`in_process`] | wasmtime alone, the pipeline, its trail on the disk, two threads |
//! | [`door`] | the HTTP door, beside a bare route and one that only runs an instance |
//! | [`send`] | one send over TLS, beside reqwest alone |
//! | [`start`] | a second start, and memory |

mod cpu;
mod door;
mod home;
mod in_process;
mod load;
mod raw;
mod sample;
mod send;
mod stage;
mod start;
mod table;

use anyhow::bail;

use stage::Place;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["all", tools, scratch] => all(&Place { tools: tools.into(), scratch: scratch.into() }),
        ["start", home] => start::start(home.as_ref()),
        ["memory", tools, scratch] => start::memory(&Place { tools: tools.into(), scratch: scratch.into() }),
        _ => bail!("run this as `cargo xtask bench`"),
    }
}

/// Measures everything and prints the table.
fn all(place: &Place) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    in_process::run(place, &mut lines)?;
    door::run(place, &mut lines)?;
    send::run(place, &mut lines)?;
    start::run(place, &mut lines)?;
    table::print(&lines);
    Ok(())
}
