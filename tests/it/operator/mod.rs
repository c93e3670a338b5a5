//! The operator as it is used: the built programs, on a real engine, judged from outside.

mod killed;
mod table;
