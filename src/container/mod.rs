//! What a container is: its configuration, names, labels, and what the engine says of it.
