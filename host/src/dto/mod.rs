//! Arguments in, results out: what an agent may send and what it may see.

mod arguments;

pub use arguments::Arguments;
