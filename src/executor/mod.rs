//! Carries out effects: one arm for each, with its timeout.
