//! The command line: a verb a file.

pub mod exit;
pub mod printer;
