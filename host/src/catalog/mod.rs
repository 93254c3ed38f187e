//! Component bytes → digest → compiled → described tools.
