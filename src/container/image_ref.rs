//! References to images: Docker's grammar, and the one form that all spellings of a reference have in common.
//!
//! `node`, `docker.io/node` and `index.docker.io/library/node:latest` are one image. [`NormalImageRef`] is how a policy or a
//! registry's credentials see it; [`ImageRef`] is what a person wrote. Stricter than Docker in one thing: a registry's
//! host is in lower case, so that there is one spelling of it.

use std::fmt;

use serde::Serialize;

use super::name::InvalidName;

/// The registry of a reference that names none.
pub const DOCKER_HUB: &str = "docker.io";
/// Its other name, from the days before tags had a registry in front.
const DOCKER_HUB_BEFORE: &str = "index.docker.io";
/// Where Docker Hub keeps images whose name has one part.
const OFFICIAL: &str = "library/";
/// Docker's own bounds.
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// A reference to an image as somebody wrote it, or an image's ID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ImageRef(String);

impl ImageRef {
    /// Parses a reference: an optional host with port, path components, tag, digest. The tag is not added here.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let parts = Parts::of(text).filter(Parts::is_valid);
        match parts {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(InvalidName::new("image reference", text)),
        }
    }

    /// The reference as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Registry, repository, tag and digest, all said aloud. `None` for an image's ID, which says nothing of where it
    /// comes from.
    pub fn normal(&self) -> Option<NormalImageRef> {
        let id = self.0.strip_prefix("sha256:").unwrap_or(&self.0);
        if is_sha256(id) {
            return None;
        }
        Parts::of(&self.0).map(Parts::into_normal)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A reference with nothing left to be guessed: `docker.io/library/node:latest`. It is no prefix of an ID either, which
/// `node` could be one day: an engine that has no image `cafe` looks for one whose ID begins so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NormalImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl NormalImageRef {
    /// The registry's host, with its port if it has one: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry: `library/node`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag: `latest`, when neither tag nor digest were written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest: `sha256:…`. What has one can never become another image.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Is it the same repository of the same registry?
    pub fn same_repository(&self, other: &Self) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }

    /// The normal form, as a reference that an engine takes.
    pub fn to_ref(&self) -> ImageRef {
        ImageRef(self.to_string())
    }
}

impl fmt::Display for NormalImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// A reference taken apart, not judged.
struct Parts<'a> {
    host: Option<&'a str>,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash is a port's.
        let last = rest.rfind('/').map_or(0, |slash| slash + 1);
        let colon = rest.get(last..)?.find(':').map(|at| last + at);
        let (name, tag) = match colon {
            Some(colon) => (rest.get(..colon)?, rest.get(colon + 1..)),
            None => (rest, None),
        };
        let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
        let (host, path) = match name.split_once('/') {
            Some((first, path)) if is_host(first) => (Some(first), path),
            Some(_) | None => (None, name),
        };
        Some(Self { host, path, tag, digest })
    }

    fn is_valid(&self) -> bool {
        self.host.is_none_or(is_host)
            && self.path.split('/').all(is_component)
            && self.tag.is_none_or(is_tag)
            && self.digest.is_none_or(|text| text.strip_prefix("sha256:").is_some_and(is_sha256))
            && self.registry().len() + 1 + self.official().len() + self.path.len() <= NAME_BYTES_MAX
    }

    fn registry(&self) -> &'a str {
        match self.host {
            None | Some(DOCKER_HUB_BEFORE) => DOCKER_HUB,
            Some(host) => host,
        }
    }

    fn official(&self) -> &'static str {
        let one_part = self.registry() == DOCKER_HUB && !self.path.contains('/');
        if one_part { OFFICIAL } else { "" }
    }

    fn into_normal(self) -> NormalImageRef {
        let latest = self.digest.is_none().then_some("latest");
        NormalImageRef {
            registry: self.registry().to_owned(),
            repository: format!("{}{}", self.official(), self.path),
            tag: self.tag.or(latest).map(str::to_owned),
            digest: self.digest.map(str::to_owned),
        }
    }
}

/// Label by label: `..` would be a host of dots only, and climb out of a URL's path.
fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |label: &str| ends_with_word(label) && label.bytes().all(inner);
    host.split('.').all(label) && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// Words of lower-case letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separator =
        |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-');
    ends_with_word(text) && text.split(|c: char| u8::try_from(c).is_ok_and(word)).all(separator)
}

/// Are its first and last byte those of a word?
fn ends_with_word(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().next().is_some_and(word) && text.bytes().last().is_some_and(word)
}

fn is_tag(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=TAG_BYTES_MAX).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(inner)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn normal(text: &str) -> String {
        ImageRef::parse(text).unwrap().normal().unwrap().to_string()
    }

    #[test]
    fn image_references_follow_their_grammar() {
        for text in [
            "busybox",
            "chanop-demo:latest",
            "library/node:20",
            "localhost:5000/a/b:tag_1",
            "g/a.b-c_d__e---f",
            "localhost/x",
            "a:UPPER",
            &format!("reg.example.com/a__b/c@{DIGEST}"),
            &format!("a:1@{DIGEST}"),
        ] {
            assert!(ImageRef::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "A",
            "a/",
            "/a",
            "a:",
            "a:-x",
            "a::x",
            "../x",
            "./x",
            ".:5/x",
            "h..i/x",
            "h:/x",
            "h:x/x",
            "a@sha256:12",
            "a b",
            "a/../b",
            "a?x",
            "a#b",
            "h:5/x/:y",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "a..b",
            "Reg.io/x",
            "-h.io/x",
            "h-.io/x",
            "a/B",
            "LOCALHOST/x",
            "ä",
            "a:ä",
            "[::1]:5000/x",
            "http://h.io/x",
            &format!("a@{}", DIGEST.to_uppercase().replace("SHA256", "sha256")),
            &format!("a@{DIGEST}@{DIGEST}"),
        ] {
            assert!(ImageRef::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_a_reference_has_one_normal_form() {
        for text in [
            "node",
            "node:latest",
            "library/node",
            "docker.io/node",
            "index.docker.io/node",
            "docker.io/library/node:latest",
        ] {
            assert_eq!(normal(text), "docker.io/library/node:latest", "{text}");
        }
        assert_eq!(normal("ann/tool:2"), "docker.io/ann/tool:2");
        assert_eq!(normal("localhost/x"), "localhost/x:latest");
        assert_eq!(normal("localhost:5000/x"), "localhost:5000/x:latest");
        assert_eq!(normal("ghcr.io/x:1"), "ghcr.io/x:1", "only Docker Hub has a library");
        assert_eq!(normal("localhost:5000"), "docker.io/library/localhost:5000", "a tag, no port");
        assert_eq!(normal(&format!("node@{DIGEST}")), format!("docker.io/library/node@{DIGEST}"));
        assert_eq!(normal(&format!("h.io/n:1@{DIGEST}")), format!("h.io/n:1@{DIGEST}"));
    }

    #[test]
    fn an_id_has_no_registry() {
        assert_eq!(ImageRef::parse(DIGEST).unwrap().normal(), None);
        assert_eq!(ImageRef::parse(&DIGEST[7..]).unwrap().normal(), None);
        assert_eq!(normal("cafe"), "docker.io/library/cafe:latest", "a prefix of one is a name");
    }

    #[test]
    fn a_name_that_only_its_normal_form_makes_too_long_is_refused() {
        assert!(ImageRef::parse(&"a".repeat(237)).is_ok());
        assert!(ImageRef::parse(&"a".repeat(238)).is_err());
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(
            host in proptest::option::of("(localhost|docker\\.io|index\\.docker\\.io|[a-z]{1,4}\\.[a-z0-9]{1,3}(:[0-9]{1,5})?)"),
            // The first part has no dot, or it would be a host.
            path in "[a-z0-9]{1,5}((_|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,5}(\\.[a-z0-9]{1,3})?){0,3}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            digest in proptest::option::of("[0-9a-f]{64}"),
        ) {
            let mut text = host.map_or_else(String::new, |host| format!("{host}/"));
            text.push_str(&path);
            text.extend(tag.iter().flat_map(|tag| [":", tag]));
            text.extend(digest.iter().flat_map(|digest| ["@sha256:", digest]));
            let once = ImageRef::parse(&text).unwrap().normal().unwrap();
            let again = ImageRef::parse(&once.to_string()).unwrap().normal().unwrap();
            prop_assert_eq!(&once, &again);
            prop_assert_eq!(once.to_ref().to_string(), again.to_string());
        }

        #[test]
        fn whatever_is_parsed_can_stand_in_a_url(text in "\\PC{0,40}|[a-z:/@.#?%-]{0,20}") {
            if let Ok(reference) = ImageRef::parse(&text) {
                prop_assert!(!reference.as_str().contains(['?', '#', '%', ' ', '\\']));
                prop_assert!(reference.as_str().split('/').all(|part| !part.is_empty() && part != ".."));
            }
        }
    }
}
