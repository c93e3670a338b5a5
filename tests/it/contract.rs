//! What the engine answers, state by state and call by call.
