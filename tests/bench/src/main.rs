//! What a call costs, beside what it could cost at least. `cargo xtask bench` builds and starts this.
//!
//! | module | what it measures |
//! |---|---|
//! | [`in_process`] | wasmtime alone, the pipeline, its trail on the disk, two threads |
//! | [`code`] | Python in the sandbox |
//! | [`door`] | the HTTP door, beside a bare route and one that only runs an instance |
//! | [`send`] | one send over TLS, beside reqwest alone |
//! | [`proxy`] | the proxy door, beside nginx |
//! | [`kill`] | how fast a kill switch works |
//! | [`policy`] | one decision of the policies |
//! | [`start`] | a second start, and memory |

mod code;
mod cpu;
mod door;
mod home;
mod in_process;
mod kill;
mod load;
mod policy;
mod proxy;
mod raw;
mod sample;
mod send;
mod stage;
mod start;
mod table;

use anyhow::bail;

use mimalloc::MiMalloc;
use stage::Place;
use table::Line;

/// The allocator of the `keybearer` command.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let place = |tools: &str, scratch: &str| Place { tools: tools.into(), scratch: scratch.into() };
    match words.as_slice() {
        ["all", tools, scratch] => measure(&place(tools, scratch), None),
        ["only", part, tools, scratch] => measure(&place(tools, scratch), Some(part)),
        ["start", home] => start::start(home.as_ref()),
        ["code-memory", tools, scratch] => code::memory(&place(tools, scratch)),
        ["memory", tools, scratch] => start::memory(&place(tools, scratch)),
        _ => bail!("run this as `cargo xtask bench`"),
    }
}

/// What measures one part.
type Measure = fn(&Place, &mut Vec<Line>) -> anyhow::Result<()>;

/// All parts, by name: one alone can be looked at with a profiler.
const PARTS: &[(&str, Measure)] = &[
    ("in-process", in_process::run),
    ("durable", in_process::durable),
    ("door", door::run),
    ("send", send::run),
    ("proxy", proxy::run),
    ("ledger", in_process::ledger),
    ("policy", policy::run),
    ("kill", kill::run),
    ("start", start::run),
    ("code", code::run),
];

/// Measures all parts or one, and prints the table.
fn measure(place: &Place, only: Option<&str>) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for (name, part) in PARTS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        eprintln!("  … {name}");
        part(place, &mut lines)?;
    }
    table::print(&lines);
    Ok(())
}
