//! How far an image is, in a bar and in numbers.

use std::fmt::Write as _;

use crate::http::views::ImageWork;

/// `Pulling`, and how far.
pub(super) fn words(it: &ImageWork) -> (&'static str, String) {
    // A build has no bytes, and a pull knows of them only after its first answer.
    let (part, whole) = if it.bytes_total > 0 {
        (it.bytes, it.bytes_total)
    } else {
        (it.done.into(), it.total.into())
    };
    let unit = if it.verb == "build" { "steps" } else { "layers" };
    let mut words = format!("{} {}/{} {unit}", bar(part, whole), it.done, it.total);
    if it.bytes_total > 0 {
        let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
        let _infallible =
            write!(words, ", {}/{} MB", megabytes(it.bytes), megabytes(it.bytes_total));
    }
    (if it.verb == "build" { "Building" } else { "Pulling" }, words)
}

/// Twenty places wide.
fn bar(part: u64, whole: u64) -> String {
    const WIDTH: usize = 20;
    let filled = part.saturating_mul(WIDTH as u64).checked_div(whole).unwrap_or(0);
    let filled = usize::try_from(filled).unwrap_or(WIDTH).min(WIDTH);
    format!("[{}{}]", "#".repeat(filled), "-".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_its_part_and_never_overflows() {
        assert_eq!(bar(0, 0), "[--------------------]");
        assert_eq!(bar(1, 4), "[#####---------------]");
        assert_eq!(bar(9, 4), "[####################]");
        assert_eq!(bar(u64::MAX, u64::MAX).len(), 22);
    }
}
