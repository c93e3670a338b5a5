//! What outlives the process: SQLite in the state directory.
