//! Requests that are not quite HTTP, each with everything else in order: whoever refuses them, the application never sees one.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    doors::Door,
    http::connect,
    policies::{HOST, KEY},
    stand::Stand,
    wait_for,
};

for_each_door!(what_is_not_quite_http_does_not_pass);

async fn what_is_not_quite_http_does_not_pass(door: &Door) {
    not_quite_http_through(door, &Stand::start(door).await).await;
}

/// The same where everything runs already.
pub async fn not_quite_http_through(door: &Door, stand: &Stand) {
    let before = stand.application.seen().len();
    let token = format!("Authorization: Bearer {}", stand.token()).into_bytes();
    let host = format!("Host: {HOST}").into_bytes();
    let target = |path: &[u8]| [b"/api/callbacks", path, b"?key=", KEY.as_bytes()].concat();
    let (plain, path) = (&target(b"")[..], &target(b"/\xff")[..]);
    let requests = [
        ("a byte in the path that is no text", path, vec![host.clone(), token.clone()]),
        ("a byte in the host that is no text", plain, vec![[&host[..], b"\xff"].concat(), token.clone()]),
        ("a NUL in the token", plain, vec![host.clone(), [&token[..], b"\0"].concat()]),
        ("a NUL in the host", plain, vec![[&host[..], b"\0.fabrikam.com"].concat(), token.clone()]),
        ("a second host on a folded line", plain, vec![host.clone(), b" fabrikam.com".to_vec(), token.clone()]),
        ("a blank before the colon of a second host", plain, vec![host.clone(), b"Host : fabrikam.com".to_vec(), token.clone()]),
        ("a second host in another case", plain, vec![host.clone(), b"hOsT: fabrikam.com".to_vec(), token.clone()]),
        ("200 KiB of headers", plain, vec![host.clone(), token.clone(), [&b"X-Long: "[..], &b"x".repeat(200 * 1024)].concat()]),
        ("two lengths", plain, vec![host, token, b"Content-Length: 0".to_vec(), b"Content-Length: 5".to_vec()]),
    ];
    for (what, target, lines) in requests {
        let head = [&[&b"POST "[..], target, b" HTTP/1.1"].concat()[..], &lines.join(&b"\r\n"[..]), b"Connection: close"].join(&b"\r\n"[..]);
        let status = status_of(stand, &[&head[..], b"\r\n\r\n"].concat()).await;
        assert!(status.is_none_or(|status| status >= 400), "{}: {what}: {status:?}", door.name);
    }
    let seen = stand.application.seen().split_off(before);
    assert!(seen.is_empty(), "{}: {seen:?}", door.name);
}

/// The status of what comes back; `None` if the connection ends without an answer.
async fn status_of(stand: &Stand, request: &[u8]) -> Option<u16> {
    let mut stream = connect([127, 0, 0, 1].into(), stand.proxy.address).await;
    // A proxy that has seen enough may not read on.
    let _ = stream.write_all(request).await;
    let mut received = Vec::new();
    wait_for("an answer, or the end of the connection", async || {
        let read = stream.read_buf(&mut received).await.unwrap_or(0);
        (read == 0 || received.len() >= 12).then_some(())
    })
    .await;
    std::str::from_utf8(received.get(9..12)?).ok()?.parse().ok()
}
