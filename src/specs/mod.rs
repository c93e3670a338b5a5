//! The spec directory: watching, scanning and parsing it.

pub mod parse;
