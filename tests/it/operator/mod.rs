//! The operator as it is used: the built programs, on a real engine, judged from outside.

mod frozen;
mod killed;
mod restart;
mod table;
