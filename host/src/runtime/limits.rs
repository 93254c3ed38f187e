//! What one run may use.

use std::time::Duration;

/// What one run may use. There's no default: whoever runs a guest says how far it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time from the first instruction to the result, sends included. An earlier deadline of the call goes first.
    pub wall: Duration,
    /// Linear memory, all memories of the component together, in bytes.
    pub memory_bytes_max: usize,
    /// Elements of all tables together. An element takes 8 bytes of the host.
    pub table_elements_max: usize,
    /// Core instances in the component. Components built from several modules have some; CPython has dozens.
    pub core_instances_max: usize,
    /// Linear memories in the component.
    pub memories_max: usize,
    /// Tables in the component.
    pub tables_max: usize,
    /// The result's JSON text, in bytes.
    pub output_bytes_max: usize,
    /// What the guest may hand to the host in one import call, in bytes: a request with its body, or a message.
    pub import_bytes_max: usize,
    /// Messages that are passed on; more are counted and dropped.
    pub log_lines_max: u32,
    /// One message; what is longer is cut.
    pub log_line_bytes_max: usize,
    /// Requests; more are refused with `send-limit`.
    pub sends_max: u32,
}

impl Limits {
    /// What a tool gets where its operator sets nothing else, for a run of at most `wall`.
    #[must_use]
    pub fn usual(wall: Duration) -> Self {
        Self {
            wall,
            memory_bytes_max: 256 << 20,
            table_elements_max: 40_000,
            core_instances_max: 128,
            memories_max: 4,
            tables_max: 32,
            output_bytes_max: 1 << 20,
            import_bytes_max: 2 << 20,
            log_lines_max: 100,
            log_line_bytes_max: 4 << 10,
            sends_max: 50,
        }
    }

    /// What `describe` gets: it has nothing to wait for and little to say.
    pub(super) fn for_describe() -> Self {
        Self {
            output_bytes_max: 10 << 20,
            log_lines_max: 0,
            sends_max: 0,
            ..Self::usual(Duration::from_secs(2))
        }
    }
}
