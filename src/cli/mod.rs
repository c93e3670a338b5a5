//! The command line: a verb a file.

pub mod demo_image;
pub mod diagnostic;
pub mod doctor;
pub mod exit;
pub mod explain;
pub mod printer;
pub mod schema;
pub mod validate;
