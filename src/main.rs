//! The `chanop` command.

fn main() {}
