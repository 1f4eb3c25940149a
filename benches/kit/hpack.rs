//! Headers as HTTP/2 has them (HPACK, RFC 7541), written without Huffman codes.

use ringfence::client::CHECK_PATH;

/// `:method: POST` and `:scheme: http` of the static table.
const POST: u8 = 0x83;
const HTTP: u8 = 0x86;
/// Names of the static table.
const AUTHORITY: u8 = 1;
const PATH: u8 = 4;
const CONTENT_TYPE: u8 = 31;
/// The number of the entry that was made last.
const NEWEST: usize = 62;

/// The headers of a connection's first call of the authorizer, and those of every later one, which refer to them as Envoy's do.
pub fn check_calls(authority: &str) -> [Vec<u8>; 2] {
    let (mut first, mut later) = (vec![POST, HTTP], vec![POST, HTTP]);
    let entered: [(Result<u8, &str>, &str); 7] = [
        (Ok(PATH), CHECK_PATH),
        (Ok(AUTHORITY), authority),
        (Err("te"), "trailers"),
        (Err("grpc-timeout"), "5S"),
        (Ok(CONTENT_TYPE), "application/grpc"),
        (Err("x-envoy-internal"), "true"),
        (Err("x-forwarded-for"), "10.0.0.7"),
    ];
    for (place, (name, value)) in entered.iter().enumerate() {
        first.push(0x40 | name.unwrap_or_default());
        if let Err(name) = name {
            text(&mut first, name);
        }
        text(&mut first, value);
        later.push(0x80 | u8::try_from(NEWEST + entered.len() - 1 - place).unwrap());
    }
    [first, later]
}

/// A text with its length.
fn text(block: &mut Vec<u8>, text: &str) {
    // A longer one would need another byte.
    block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
    block.extend_from_slice(text.as_bytes());
}
