//! Runs at the command line.
