//! The API version that we speak with an engine.
//!
//! Pure. The client library sends no version at all, so an engine would answer in its newest dialect; [`super::transport`]
//! puts the version chosen here into every path. 1.41 is Docker 20.10, the oldest that has all that we use.

use std::fmt;

/// `1.NN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The oldest that we speak: Docker 20.10, Podman 4.
    pub(super) const OLDEST: Self = Self { major: 1, minor: 41 };
    /// The newest that our types were made from; a newer engine speaks it too.
    pub(super) const NEWEST: Self = Self { major: 1, minor: 53 };

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// The version to speak with an engine that says so of itself, or why there is none.
    pub(super) fn choose(newest: &str, oldest: &str) -> Result<Self, String> {
        let newest = Self::parse(newest)
            .ok_or_else(|| format!("its API version `{newest}` is none that chanop knows"))?;
        if newest < Self::OLDEST {
            return Err(format!(
                "it speaks API {newest}; chanop needs {} (Docker 20.10) or newer: upgrade the engine",
                Self::OLDEST
            ));
        }
        // An engine that does not say its oldest version has none that matters.
        match Self::parse(oldest) {
            Some(oldest) if oldest > Self::NEWEST => Err(format!(
                "it speaks API {oldest} and newer; this chanop speaks {} at most: upgrade chanop",
                Self::NEWEST
            )),
            Some(_) | None => Ok(newest.min(Self::NEWEST)),
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        for (newest, oldest, spoken) in [
            ("1.41", "1.12", "1.41"),
            ("1.44", "1.24", "1.44"),
            ("1.53", "1.44", "1.53"),
            ("1.99", "1.44", "1.53"),
            ("1.41", "", "1.41"),
        ] {
            assert_eq!(
                ApiVersion::choose(newest, oldest).map(|v| v.to_string()),
                Ok(spoken.to_owned())
            );
        }
    }

    #[test]
    fn an_engine_too_old_or_too_new_is_refused_with_the_way_out() {
        let old = ApiVersion::choose("1.40", "1.12").unwrap_err();
        assert!(old.contains("1.41 (Docker 20.10)") && old.contains("upgrade the engine"), "{old}");
        let new = ApiVersion::choose("1.99", "1.60").unwrap_err();
        assert!(new.contains("upgrade chanop"), "{new}");
        assert!(ApiVersion::choose("", "").is_err());
    }
}
