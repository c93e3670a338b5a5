//! What of the operator's own environment every container gets: the time zone and the proxies.
//!
//! A proxy on the host's loopback is not reachable under that name from inside, so `localhost` becomes
//! `host.docker.internal`. That host and the container's own loopback are reached without a proxy: both spellings of
//! `NO_PROXY` name them, because programs differ in which spelling they read first.
//! Values here become plain environment: they are shown by `docker inspect`. They are not in the spec hash: a change
//! reaches each shell with its next start.

use std::collections::BTreeMap;

/// The host as containers see it; the template lets it resolve.
pub const HOST_ALIAS: &str = "host.docker.internal";

/// Proxy variables whose value is a URL. Each is read in either case, and passed on in the case it was found in.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"];

/// Hosts that no container reaches through a proxy: the host itself, and its own loopback in the three forms that programs use.
const DIRECT: [&str; 4] = [HOST_ALIAS, "localhost", "127.0.0.1", "::1"];

/// The variables of the operator that count. Made once by whoever may read the environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostEnvironment {
    variables: BTreeMap<String, String>,
}

impl HostEnvironment {
    /// Keeps of `variables` what concerns containers.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let concerns = |name: &str| {
            let upper = name.to_ascii_uppercase();
            name == "TZ"
                || (name == upper || name == upper.to_ascii_lowercase())
                    && (PROXIES.contains(&upper.as_str()) || upper == "NO_PROXY")
        };
        let kept =
            variables.into_iter().filter(|(name, value)| concerns(name) && !value.is_empty());
        Self { variables: kept.collect() }
    }

    /// `NAME=value` lines for a container, sorted by name.
    pub fn lines(&self) -> Vec<String> {
        let mut variables = self.variables.clone();
        let is_proxy = |name: &str| PROXIES.contains(&name.to_ascii_uppercase().as_str());
        for (name, value) in &mut variables {
            if is_proxy(name) {
                *value = reachable(value);
            }
        }
        let own = |name: &str| variables.get(name).cloned();
        let (upper, lower) = (own("NO_PROXY"), own("no_proxy"));
        if upper.is_some() || lower.is_some() || variables.keys().any(|name| is_proxy(name)) {
            // A program that reads the spelling that the operator does not have must not lose the operator's list.
            let list = |one: &Option<String>, other: &Option<String>| {
                with_direct(one.as_ref().or(other.as_ref()).map_or("", String::as_str))
            };
            variables.insert("NO_PROXY".to_owned(), list(&upper, &lower));
            variables.insert("no_proxy".to_owned(), list(&lower, &upper));
        }
        variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

/// A proxy's URL as it is reached from inside: loopback is the host.
fn reachable(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (login, host_and_port) =
        authority.rsplit_once('@').map_or(("", authority), |(login, host)| (login, host));
    let (host, port) = split_port(host_and_port);
    if !is_loopback(host) {
        return url.to_owned();
    }
    let scheme = if url.contains("://") { format!("{scheme}://") } else { String::new() };
    let login = if authority.contains('@') { format!("{login}@") } else { String::new() };
    format!("{scheme}{login}{HOST_ALIAS}{port}{path}")
}

/// Host and `:port`; an IPv6 address stands in brackets.
fn split_port(text: &str) -> (&str, &str) {
    let search_from = text.rfind(']').map_or(0, |at| at + 1);
    let tail = text.get(search_from..).unwrap_or_default();
    tail.find(':').map_or((text, ""), |at| text.split_at(search_from + at))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// The list without duplicates, and with [`DIRECT`] at its end. `*` already excepts everything.
fn with_direct(list: &str) -> String {
    let own = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let everything = own.clone().any(|entry| entry == "*");
    let mut entries: Vec<&str> = Vec::new();
    for entry in own.chain(DIRECT.into_iter().filter(|_| !everything)) {
        // Some programs want an IPv6 address in brackets, so that form stays as it is.
        let bare = |text: &str| text.trim_matches(['[', ']']).to_ascii_lowercase();
        if !entries.iter().any(|known| bare(known) == bare(entry)) {
            entries.push(entry);
        }
    }
    entries.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(variables: &[(&str, &str)]) -> Vec<String> {
        let owned = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        HostEnvironment::from_variables(owned).lines()
    }

    #[test]
    fn only_time_zone_and_proxies_are_passed_on() {
        let found = lines(&[
            ("TZ", "Europe/Berlin"),
            ("PATH", "/bin"),
            ("GH_TOKEN", "x"),
            ("Http_Proxy", "http://a:1"),
            ("HTTPS_PROXY", ""),
        ]);
        assert_eq!(found, ["TZ=Europe/Berlin"]);
    }

    #[test]
    fn a_proxy_on_the_loopback_is_reached_through_the_host() {
        for (outside, inside) in [
            ("http://localhost:3128", "http://host.docker.internal:3128"),
            ("http://LOCALHOST:3128/", "http://host.docker.internal:3128/"),
            ("http://127.0.0.1:8080", "http://host.docker.internal:8080"),
            ("http://127.1.2.3", "http://host.docker.internal"),
            ("http://u:p@localhost:1/x", "http://u:p@host.docker.internal:1/x"),
            ("http://u:a@b@localhost:1", "http://u:a@b@host.docker.internal:1"),
            ("socks5h://[::1]:1080", "socks5h://host.docker.internal:1080"),
            ("localhost:3128", "host.docker.internal:3128"),
            ("http://proxy.example.com:3128", "http://proxy.example.com:3128"),
            ("http://localhost.example.com:1", "http://localhost.example.com:1"),
            ("http://example.com/localhost", "http://example.com/localhost"),
            ("http://[fe80::1]:3128", "http://[fe80::1]:3128"),
        ] {
            assert_eq!(reachable(outside), inside);
        }
    }

    /// What both spellings say.
    fn no_proxy(variables: &[(&str, &str)]) -> [String; 2] {
        let lines = lines(variables);
        ["NO_PROXY=", "no_proxy="].map(|name| {
            lines.iter().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
        })
    }

    const OURS: &str = "host.docker.internal,localhost,127.0.0.1,::1";

    #[test]
    fn both_no_proxy_spellings_except_the_own_loopback() {
        for proxy in ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            assert_eq!(no_proxy(&[(proxy, "http://p:1")]), [OURS, OURS], "{proxy}");
        }
        assert_eq!(no_proxy(&[("TZ", "UTC")]), ["", ""]);
    }

    #[test]
    fn no_proxy_keeps_what_the_operator_set() {
        let both = format!("a.example,b.example,{OURS}");
        assert_eq!(
            no_proxy(&[("HTTP_PROXY", "http://p:1"), ("no_proxy", "a.example, b.example,")]),
            [both.clone(), both]
        );
        assert_eq!(
            no_proxy(&[("NO_PROXY", "a.example"), ("no_proxy", "b.example")]),
            [format!("a.example,{OURS}"), format!("b.example,{OURS}")]
        );
        assert_eq!(no_proxy(&[("NO_PROXY", "*")]), ["*", "*"]);
    }

    #[test]
    fn no_proxy_has_no_duplicates() {
        let list = "LocalHost,a.example,[::1],127.0.0.1,a.example";
        let expected = "LocalHost,a.example,[::1],127.0.0.1,host.docker.internal";
        assert_eq!(no_proxy(&[("no_proxy", list)]), [expected, expected]);
    }
}
