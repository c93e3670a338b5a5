//! Health: is the process there, and can it do its work?
//!
//! Ready means that channels are being kept: the specs are readable and the engine answers. An operator that is not ready
//! is no reason to restart it; nothing it keeps is lost by waiting.

use std::fmt::Write as _;

use http::StatusCode;

use crate::controller::view::View;

/// One question of readiness.
struct Check {
    name: &'static str,
    failure: Option<String>,
}

/// `/livez` and `/healthz`: whoever answers lives.
pub(super) fn live() -> (StatusCode, String) {
    (StatusCode::OK, "ok\n".to_owned())
}

/// `/readyz`. Reasons name paths of the host: they are for those who may read the API.
pub(super) fn ready(view: &View, verbose: bool, with_reasons: bool) -> (StatusCode, String) {
    let checks = checks(view);
    let failed = checks.iter().any(|check| check.failure.is_some());
    if !failed && !verbose {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let mut text = String::new();
    for Check { name, failure } in checks {
        let (sign, verdict) = match failure {
            None => ('+', "ok".to_owned()),
            Some(reason) if with_reasons => ('-', format!("failed: {reason}")),
            Some(_) => ('-', "failed: reason withheld".to_owned()),
        };
        let _infallible = writeln!(text, "[{sign}]{name} {verdict}");
    }
    text += if failed { "readyz check failed\n" } else { "readyz check passed\n" };
    (if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, text)
}

fn checks(view: &View) -> [Check; 4] {
    let started = (view.version == 0).then(|| "no snapshot yet".to_owned());
    let engine = (!view.engine.live)
        .then(|| view.engine.error.clone().unwrap_or_else(|| "not asked yet".to_owned()));
    [
        Check { name: "core", failure: started },
        Check { name: "specs", failure: view.specs.unavailable.clone() },
        Check { name: "engine", failure: engine },
        Check { name: "actions", failure: view.blocked.clone() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_missing_and_withholds_why_from_strangers() {
        let mut view = View { version: 1, ..View::default() };
        view.engine.live = true;
        assert_eq!(ready(&view, false, false), (StatusCode::OK, "ok\n".to_owned()));
        view.specs.unavailable = Some("/etc/specs: permission denied".to_owned());
        let (code, text) = ready(&view, false, false);
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("[-]specs failed: reason withheld\n"), "{text}");
        assert!(ready(&view, false, true).1.contains("/etc/specs: permission denied"));
    }
}
