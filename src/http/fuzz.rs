//! What the fuzz targets call: parts of requests, from bytes.

use std::collections::BTreeMap;

use super::auth::Tokens;
use super::order;
use super::selector::Selector;

/// Reads the body of an order, a selector or a token file.
pub fn request(which: u8, data: &[u8]) {
    if which % 3 == 0 {
        drop(order::decode(data));
        return;
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if which % 3 == 1 {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let _matches = Selector::parse(text).map(|selector| selector.matches(&labels));
    } else {
        drop(Tokens::parse(text));
    }
}
