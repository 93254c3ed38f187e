//! Component instances under limits.
