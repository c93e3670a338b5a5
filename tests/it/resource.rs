//! The words of the files: what is read, what is refused and how that is said, and how class and channel become one.

mod merge;
mod refused;
