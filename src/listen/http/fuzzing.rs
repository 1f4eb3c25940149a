//! A door for fuzz targets: what a dialect makes of one request, without a connection.

use std::net::IpAddr;

use http::request::Parts;
use ringfence_core::decide::Reason;

use super::{Asked, CheckUrl, what_is_asked};
use crate::listen::Dialect;

/// A check URL and what it asks about.
#[derive(Debug)]
pub struct Question<'a> {
    /// The dialect.
    pub dialect: Dialect,
    /// `namespace/name`.
    pub pin: Option<&'a str>,
    /// What follows the dialect's own part of the URL.
    pub rest: &'a str,
    /// What is asked about, or why it is refused.
    pub asked: Result<Subject<'a>, Reason>,
}

/// The request that is asked about.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The client's method.
    pub method: &'a str,
    /// The host that the proxy routes by.
    pub host: Option<&'a str>,
    /// Path and query, undecoded.
    pub target: &'a str,
    /// The client's address.
    pub address: Option<IpAddr>,
}

/// What `head`, with `raw_target` in its request line, asks. `None` = it is no check URL.
#[must_use]
pub fn question<'a>(head: &'a Parts, raw_target: &'a str) -> Option<Question<'a>> {
    let url = CheckUrl::parse(raw_target)?;
    let asked = what_is_asked(head, &url, false).map(|Asked { method, host, target, address }| Subject { method, host, target, address });
    let CheckUrl { dialect, pin, rest } = url;
    Some(Question { dialect, pin, rest, asked })
}
