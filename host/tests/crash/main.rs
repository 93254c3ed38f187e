//! A real host that is killed, that can't start, whose disk fails it, whose files are replaced, whose master key is rotated,
//! or whose log nobody takes: nothing is lost, nothing is sent again, and whoever runs it reads one clear sentence.

#[path = "../built/mod.rs"]
mod built;
mod faults;
mod host;
mod killed;
mod replaced;
mod rotated;
mod siege;
mod start;
