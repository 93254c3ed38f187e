//! The limits of a connection: what holds where the file says nothing, and what no file can go beyond.

/// Time to resolve, connect and finish the TLS handshake, where the file says nothing, in milliseconds. An upstream
/// that is up answers in far less, and half of a call's default deadline of 4 s is left to try something else.
pub const CONNECT_MS_DEFAULT: u64 = 2_000;
/// The most that a file can ask for: longer means that the upstream is down.
pub const CONNECT_MS_LIMIT: u64 = 30_000;
/// Time for one whole request, the body of its reply included, where the file says nothing, in milliseconds.
pub const TOTAL_MS_DEFAULT: u64 = 10_000;
/// The most that a file can ask for: a request holds an instance and a place in the queue for as long.
pub const TOTAL_MS_LIMIT: u64 = 120_000;
/// The greatest body of a request where the file says nothing, in bytes: API calls are small.
pub const REQUEST_BYTES_DEFAULT: usize = 64 * 1024;
/// The most that a file can ask for: a body is held in memory, checked and digested as a whole.
pub const REQUEST_BYTES_LIMIT: usize = 1024 * 1024;
/// The greatest body of a reply, compressed and decompressed alike, where the file says nothing, in bytes.
pub const RESPONSE_BYTES_DEFAULT: usize = 1024 * 1024;
/// The most that a file can ask for: a reply is held in memory and swept as a whole.
pub const RESPONSE_BYTES_LIMIT: usize = 16 * 1024 * 1024;
/// The longest text that a string parameter may be where the file says nothing, in characters.
pub const STRING_LENGTH_DEFAULT: usize = 4_096;
/// The most items of a list where the file says nothing.
pub const ITEMS_DEFAULT: usize = 100;
/// How deep parameter types may be nested: a JSON body is refused below 32 levels anyway.
pub const TYPE_DEPTH_LIMIT: usize = 16;
/// The greatest connection file, in bytes: a hundred operations take a tenth of it.
pub const FILE_BYTES_LIMIT: u64 = 1024 * 1024;
