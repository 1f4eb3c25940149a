//! Tests with a real API server, as a ServiceAccount with no more rights than are needed.

mod replica;
mod status;
