//! A real host that is killed, that can't start, or whose disk fails it: nothing is lost, nothing is sent again, and
//! whoever runs it reads one clear sentence.

#[path = "../built/mod.rs"]
mod built;
mod faults;
mod host;
mod killed;
mod start;
