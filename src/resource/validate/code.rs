//! The codes of violations: stable, closed, each with one line of meaning.

use std::fmt;

use serde::{Serialize, Serializer};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document does not count until it is put right.
    Error,
    /// It counts, but probably not as meant.
    Warning,
}

impl Severity {
    /// The word of the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $meaning:literal;)+) => {
        /// What is wrong. A code never changes its meaning and is never used again for another.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as it is printed: `E0103`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it means, in a line.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }
        }
    };
}

codes! {
    /// The text is no YAML.
    Syntax = "E0101", "the text is not YAML";
    /// Nothing, or white space only.
    EmptyFile = "E0102", "the file is empty, which a half-written one is too";
    /// A key that has no place there.
    UnknownField = "E0103", "no field of this name belongs here";
    /// A key twice.
    DuplicateField = "E0104", "the same key stands twice in one map";
    /// Another type of value is due.
    WrongType = "E0105", "the value has another type than the field";
    /// A field that must be there.
    MissingField = "E0106", "a field that must be set is not";
    /// No kind of ours.
    UnknownKind = "E0107", "the kind is none that chanop knows";
    /// Not our group and version.
    ApiVersion = "E0108", "the apiVersion is not chanop.dev/v1alpha1";
    /// Not a DNS-1123 label, or too long.
    InvalidName = "E0109", "the name breaks the rules for names";
    /// Not one of the words allowed.
    UnknownWord = "E0110", "the value is none of the words that the field takes";
    /// A number beyond its bounds.
    OutOfRange = "E0111", "the number is outside the field's bounds";
    /// Not a Kubernetes quantity.
    InvalidQuantity = "E0112", "the text is not a quantity such as 512Mi or 500m";
    /// Not a duration.
    InvalidDuration = "E0113", "the text is not a duration such as 30m or 1h30m";
    /// Not a 5-field cron pattern, or one that never fires.
    InvalidSchedule = "E0114", "the schedule cannot be read, or never fires";
    /// No zone of that name.
    UnknownTimeZone = "E0115", "no time zone has this name";
    /// Not RFC 3339.
    InvalidTimestamp = "E0116", "the text is not a time such as 2026-12-01T14:00:00Z";
    /// Relative where absolute is due, or with `..`.
    InvalidPath = "E0117", "the path breaks the rules for paths";
    /// Of several fields exactly one must be set.
    ExactlyOne = "E0118", "exactly one of several fields must be set";
    /// Two fields that cannot go together.
    FieldConflict = "E0119", "the field does not go with another one";
    /// The same key twice in a list.
    DuplicateItem = "E0120", "two items of a list claim the same thing";
    /// A token, a password, a private key.
    LooksLikeSecret = "E0121", "the value looks like a secret, which does not belong into a spec";
    /// An argument that chanop sets itself.
    ReservedArgument = "E0122", "chanop sets this argument itself";
    /// Too many bytes, documents, levels or nodes.
    TooLarge = "E0123", "the file is larger, deeper or more than chanop reads";
    /// YAML that specs do not use.
    UnsupportedYaml = "E0124", "a feature of YAML that specs do not use";
    /// Not UTF-8.
    NotUtf8 = "E0125", "the file is not UTF-8";
    /// The same object twice.
    DuplicateObject = "E0126", "the same object is written twice";
    /// The file could not be read.
    Unreadable = "E0127", "the file could not be read";
    /// A field of the kind that has no place in this object.
    NotHere = "E0128", "the field has no place in this kind of object";
    /// Any other text that breaks its field's rule.
    InvalidText = "E0129", "the text breaks the field's rule";
    /// More than the policy lets a spec ask for.
    PolicyViolation = "E0130", "the policy forbids what the spec asks for";
    /// A channel that is in no file.
    UnknownChannel = "W0201", "no file has the channel that is named";
    /// A class that is in no file.
    UnknownClass = "W0202", "no file has the class that is named";
    /// Allowed, but most likely not meant.
    Unusual = "W0203", "the value is allowed, but unusual";
    /// More violations than one file shows.
    MoreFound = "W0204", "the file has more mistakes than are shown";
}

impl Code {
    /// By the code's letter.
    pub fn severity(self) -> Severity {
        if self.as_str().starts_with('W') { Severity::Warning } else { Severity::Error }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Code;

    #[test]
    fn no_two_codes_share_a_number() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
