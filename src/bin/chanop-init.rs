//! The tiny init of every container.

fn main() {}
