//! The HTTP faces: control socket and TCP listener.
