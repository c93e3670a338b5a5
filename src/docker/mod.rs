//! The Docker engine: the real one behind a trait.
