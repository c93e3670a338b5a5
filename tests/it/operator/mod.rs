//! The operator as it is used: the built programs, on a real engine, judged from outside.

mod agent;
mod frozen;
mod image;
mod killed;
mod life;
mod owner;
mod rest;
mod restart;
mod single;
mod table;
