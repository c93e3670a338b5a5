//! The command line: a verb a file.

pub mod demo_image;
pub mod doctor;
pub mod exit;
pub mod printer;
