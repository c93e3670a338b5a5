//! Durations, quantities and schedules: what is read prints as text that is read as the same.
#![no_main]

use chanop::resource::cron::CronPattern;
use chanop::resource::duration::Span;
use chanop::resource::quantity::Quantity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(span) = Span::parse(text) {
        assert_eq!(Span::parse(&span.to_string()).ok(), Some(span), "{text}");
    }
    if let Ok(quantity) = Quantity::parse(text) {
        let printed = quantity.to_string();
        assert_eq!(Quantity::parse(&printed).map(|it| it.to_string()).ok(), Some(printed), "{text}");
    }
    if let Ok(pattern) = CronPattern::parse(text) {
        assert!(CronPattern::parse(pattern.as_str()).is_ok(), "{text}");
    }
});
