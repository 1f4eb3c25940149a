//! What somebody probably meant.

/// The candidate that differs least from `name`, if it differs little enough to be meant.
pub(super) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let most = (name.chars().count() / 3).clamp(1, 4);
    candidates.into_iter().map(|candidate| (distance(name, candidate), candidate)).filter(|(distance, _)| *distance <= most).min().map(|(_, c)| c)
}

/// How many characters must be added, left out or replaced to get from one to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, c) in from.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (above, expected) in row.iter_mut().skip(1).zip(&to) {
            let replaced = diagonal + usize::from(c != *expected);
            diagonal = *above;
            left = replaced.min(left + 1).min(*above + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted() {
        for (from, to, expected) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("drain", "drain", 0), ("gprc", "grpc", 2), ("ab", "", 2)]
        {
            assert_eq!((distance(from, to), distance(to, from)), (expected, expected), "{from} {to}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = ["grpc-listen", "http-listen", "drain"];
        assert_eq!(nearest("grcp-listen", names), Some("grpc-listen"));
        assert_eq!(nearest("grpc_listen", names), Some("grpc-listen"));
        assert_eq!(nearest("darin", names), None);
        assert_eq!(nearest("dran", names), Some("drain"));
        assert_eq!(nearest("something-else", names), None);
    }
}
