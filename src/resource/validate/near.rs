//! "Did you mean": the nearest of the words that would have been right.

/// The word of `allowed` that `written` most likely stands for, when one is near enough.
///
/// Near is a third of the word's length in edits, and a different case alone is always near.
pub fn nearest<'a>(written: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Nobody mistypes more than this, and the table below is quadratic.
    const WRITTEN_MAX: usize = 64;
    if written.is_empty() || written.len() > WRITTEN_MAX {
        return None;
    }
    let small = written.to_lowercase();
    allowed
        .into_iter()
        .map(|word| (distance(&small, &word.to_lowercase()), word))
        .filter(|(edits, word)| *edits <= word.chars().count().max(3) / 3)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// Edits between two words: insert, delete, replace, or swap of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at =
                |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let replace = at(&last, j) + usize::from(x != *y);
            let mut edits = replace.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = j > 0 && previous == Some(*y) && b.get(j - 1) == Some(&x);
            if swapped {
                edits = edits.min(at(&before, j - 1) + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut last, row);
        previous = Some(x);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let allowed = ["cpu", "memory", "pids"];
        assert_eq!(nearest("memmory", allowed), Some("memory"));
        assert_eq!(nearest("mmeory", allowed), Some("memory"));
        assert_eq!(nearest("CPU", allowed), Some("cpu"));
        assert_eq!(nearest("pid", allowed), Some("pids"));
        assert_eq!(nearest("whenidle", ["WhenIdle", "OnDelete"]), Some("WhenIdle"));
    }

    #[test]
    fn a_word_that_is_none_of_them_finds_nothing() {
        assert_eq!(nearest("disk", ["cpu", "memory", "pids"]), None);
        assert_eq!(nearest("", ["cpu"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), ["cpu"]), None);
    }
}
