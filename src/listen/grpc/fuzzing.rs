//! A door for fuzz targets: from the bytes of a message to the request that is decided.

use std::time::Instant;

use ringfence_core::decide::RawRequest;

use super::{request::from_check, wire::CheckView};
use crate::listen::client_address::ClientAddressRule;

pub(in crate::listen) use super::wire::model::assert_agrees;

/// Hands the request that `message` asks about to `take`.
pub(in crate::listen) fn read<R>(
    message: &[u8],
    arrived: Instant,
    client_address: &ClientAddressRule,
    take: impl FnOnce(&RawRequest<'_>) -> R,
) -> Option<R> {
    let view = CheckView::decode(message).ok()?;
    from_check(view, arrived, client_address).map(|raw| take(&raw))
}
