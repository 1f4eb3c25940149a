use super::*;

fn shown(at_ms: Option<i64>, verb: Verb) -> String {
    Age { at_ms, now: Now::settled(1_000_000), verb }.to_string()
}

#[test]
fn ages_are_told_in_seconds_before_and_after() {
    assert_eq!(shown(Some(1_090_000), Verb::EXPIRE), "expires in 90 s");
    assert_eq!(shown(Some(1_000_000), Verb::EXPIRE), "expires in 0 s");
    assert_eq!(shown(Some(910_000), Verb::EXPIRE), "expired 90 s ago");
    assert_eq!(shown(Some(1_090_500), Verb::BEGIN), "begins in 90 s");
    assert_eq!(shown(None, Verb::EXPIRE), "without a date");
    let note = ExpiryNote { expires_ms: 1_060_000, longest_ms: 7_200_000, now: Now::settled(1_000_000) };
    assert_eq!(note.to_string(), "; it expires in 60 s, the sender's longest is 7200 s");
}
