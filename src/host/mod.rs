//! The host: its paths, owners, and what a container needs prepared on it.
