//! Image references: what is read prints as itself, and its normal form is stable.
#![no_main]

use chanop::container::ImageRef;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(image) = ImageRef::parse(text) else { return };
    assert_eq!(image.as_str(), text);
    let Some(normal) = image.normal() else { return };
    let again = normal.to_ref();
    assert_eq!(again.normal().as_ref(), Some(&normal), "{text}");
    assert!(!normal.registry().is_empty() && !normal.repository().is_empty());
});
