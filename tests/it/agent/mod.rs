//! The agent's real CLI, in a container as hardened as a channel's, against a mock of the API.
//!
//! What the CLI does when things go wrong is nowhere promised, and chanop decides by it: so it is asked. These tests need the
//! CLI (`make claude`) and the image that `make test-agent` makes of it, which takes 390 MB of the engine's disk. They are
//! ignored elsewhere, not skipped: `make test-agent` runs them all.

mod ends;
mod hostile;
mod interactive;
mod place;
mod runs;
mod session;
mod table;
