//! Doors for fuzz targets (`fuzz/`): what the listeners make of bytes, without a listener. No part of what is shipped.

use std::time::Instant;

use ringfence_core::decide::RawRequest;

use super::{ClientAddress, ClientAddressRule, grpc};

pub use super::http::fuzzing::{Question, Subject, question};

/// Reads `message` as a `CheckRequest`.
///
/// # Panics
/// Where it is read otherwise than by prost.
pub fn assert_read_as_prost_does(message: &[u8]) {
    grpc::fuzzing::assert_agrees(message);
}

/// Hands the request that `message`, a `CheckRequest`, asks about to `take`; nothing if it is none.
pub fn read_check_request<R>(message: &[u8], arrived: Instant, take: impl FnOnce(&RawRequest<'_>) -> R) -> Option<R> {
    grpc::fuzzing::read(message, arrived, &ClientAddressRule::new(ClientAddress::Wire, &[]), take)
}
