//! The operator as it is used: the built programs, on a real engine, judged from outside.

mod agent;
mod bank;
mod frozen;
mod hostile;
mod image;
mod killed;
mod life;
mod memory;
mod mounts;
mod owner;
mod rest;
mod restart;
mod run_crash;
mod run_life;
mod run_session;
mod single;
mod table;
