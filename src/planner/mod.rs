//! What should be done for one key, and why: a pure function of the world.
